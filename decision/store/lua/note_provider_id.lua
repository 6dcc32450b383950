-- Adds a provider's id to those of a customer, unless the customer was erased.
--
-- KEYS  1 document   2 deliveries   3 provider ids
-- ARGV  1 delivery id   2 member: gateway, NUL, provider id   3 how long it lasts, milliseconds
-- Returns 1; 0 where there is neither a document nor the delivery

if not redis.call('GET', KEYS[1]) and not redis.call('HGET', KEYS[2], 's' .. ARGV[1]) then
  return 0
end
local time = redis.call('TIME')
local now, lasts = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[3], string.format('%.0f', now + lasts), ARGV[2])
if redis.call('PTTL', KEYS[3]) < lasts then
  redis.call('PEXPIRE', KEYS[3], lasts)
end
return 1
