-- Removes the timers of a customer who was erased; nothing where there is a document again.
--
-- KEYS  1 document   2 near timers (zset)   3 the buckets of far ones (zset)   4 counts (hash)
--       5 … lists of far ones
-- ARGV  1 customer id   2 what lists have of it   3 … their members of the buckets
-- Returns how many timers there were.

if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local far = 0
for place = 5, #KEYS do
  far = far + redis.call('LREM', KEYS[place], 0, ARGV[2])
  if redis.call('EXISTS', KEYS[place]) == 0 then
    redis.call('ZREM', KEYS[3], ARGV[place - 2])
  end
end
if far > 0 then
  redis.call('HINCRBY', KEYS[4], 'far', -far)
end
return far + redis.call('ZREM', KEYS[2], ARGV[1])
