-- Counts or gives back what a token took for one message, as its contact was settled.
--
-- KEYS  1 what the token took (hash)   2 ends of reservations (zset)   3 prefix of the counters
-- ARGV  1 the token   2 the message   3 the rank
--
-- A unit's name says of which counter it is, for which message, and how much (take_budgets.lua).
-- It is held while its rank is odd: -1 while reserved, -2 once its reservation ended; then twice
-- the second at which it was confirmed or released, plus 1 if confirmed. A higher rank replaces a
-- lower one, so that settling may be repeated and arrive in any order.
-- A counter that is gone, because its period is over, stays gone.

-- Whether a counter can be counted on: not gone, no damaged value, no key of another type.
local function counts(counter)
  local held = redis.call('TYPE', counter).ok == 'string' and redis.call('GET', counter)
  return held and #held < 17 and string.find(held, '^%-?%d+$')
end

if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  return 0 -- it took nothing, or so long ago that it is forgotten
end
local rank = tonumber(ARGV[3])
local units = redis.call('HGETALL', KEYS[1])
for i = 1, #units, 2 do
  local name, before = units[i], tonumber(units[i + 1]) or 0
  local counter, message, amount = string.match(name, '^(.*)/([^/]*)/(%d+)$')
  if (message or string.match(name, '^(.*):[^:]*$')) == ARGV[2] and rank > before then
    local change = (rank % 2 - before % 2) * (amount or 1)
    if change ~= 0 and counts(KEYS[3] .. (counter or name)) then
      redis.call('INCRBY', KEYS[3] .. (counter or name), change)
    end
    redis.call('HSET', KEYS[1], name, ARGV[3])
    redis.call('ZREM', KEYS[2], ARGV[1] .. ':' .. name)
  end
end
return 1
