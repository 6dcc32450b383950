-- Gives back units that a token took of budgets, each once.
--
-- KEYS  1 what the token took (hash)   2 ends of reservations (zset)
--       3 … counters, one per unit
-- ARGV  1 how long the token is remembered, milliseconds   2 the token   3 … names of the units
--
-- The empty name marks a token as used: a take that arrives after its return changes nothing.

-- Whether a counter can be counted on: not gone, no damaged value, no key of another type.
local function counts(counter)
  local held = redis.call('TYPE', counter).ok == 'string' and redis.call('GET', counter)
  return held and #held < 17 and string.find(held, '^%-?%d+$')
end

for i = 3, #KEYS do
  local rank = redis.call('HGET', KEYS[1], ARGV[i])
  if rank then
    if (tonumber(rank) or 0) % 2 == 1 and counts(KEYS[i]) then
      redis.call('INCRBY', KEYS[i], '-' .. (string.match(ARGV[i], '/(%d+)$') or 1))
    end
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[2] .. ':' .. ARGV[i])
  end
end
redis.call('HSET', KEYS[1], '', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
