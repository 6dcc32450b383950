-- Gives back what was taken for reservations that have ended, each once.
--
-- KEYS  1 ends of reservations (zset)   2 the first of them
--       3 prefix of the counters   4 prefix of what tokens took
-- ARGV  1 the present, microseconds   2 how many reservations at most
-- Returns how many it was

-- Whether a counter can be counted on: not gone, no damaged value, no key of another type.
local function counts(counter)
  local held = redis.call('TYPE', counter).ok == 'string' and redis.call('GET', counter)
  return held and #held < 17 and string.find(held, '^%-?%d+$')
end

local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, unit in ipairs(ended) do
  local token, name = string.match(unit, '^([^:]*):(.*)$')
  redis.call('ZREM', KEYS[1], unit)
  local counter, amount = string.match(name or '', '^(.*)/[^/]*/(%d+)$')
  if name and counts(KEYS[3] .. (counter or name)) then
    redis.call('INCRBY', KEYS[3] .. (counter or name), '-' .. (amount or 1))
  end
  if name and redis.call('TYPE', KEYS[4] .. token).ok == 'hash' then
    redis.call('HSET', KEYS[4] .. token, name, -2)
  end
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if first[2] then
  redis.call('SET', KEYS[2], first[2])
else
  redis.call('DEL', KEYS[2])
end
return #ended
