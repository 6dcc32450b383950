-- Counts or gives back what a token took for one message, as its contact was settled.
--
-- KEYS  1 what the token took (hash)   2 leases (hash, see commit.lua)   3 ends (zset)
-- ARGV  1 the token   2 the message   3 the rank   4 the lease that gets or owes the units
-- Returns a list: counter, change of what is taken of it, next counter …; nil where something
--      changes and the lease is over: then nothing is done
--
-- A unit's name says of which counter it is, for which message, and how much (commit.lua).
-- It is held while its rank is odd: -1 while reserved, -2 once its reservation ended; then twice
-- the second at which it was confirmed or released, plus 1 if confirmed. A higher rank replaces a
-- lower one, so that settling may be repeated and arrive in any order.

if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  return {} -- it took nothing, or so long ago that it is forgotten
end
local rank = tonumber(ARGV[3])
local units, settled, changes = redis.call('HGETALL', KEYS[1]), {}, {}
for i = 1, #units, 2 do
  local name, before = units[i], tonumber(units[i + 1]) or 0
  local counter, message, amount = string.match(name, '^(.*)/([^/]*)/(%d+)$')
  if (message or string.match(name, '^(.*):[^:]*$')) == ARGV[2] and rank > before then
    settled[#settled + 1] = name
    local change = (rank % 2 - before % 2) * (amount or 1)
    if change ~= 0 then
      changes[#changes + 1] = counter or name
      changes[#changes + 1] = change
    end
  end
end
if #changes > 0 and not redis.call('HGET', KEYS[2], ARGV[4]) then
  return false
end
for _, name in ipairs(settled) do
  redis.call('HSET', KEYS[1], name, ARGV[3])
  redis.call('ZREM', KEYS[3], ARGV[1] .. ':' .. name)
end
for i = 1, #changes, 2 do
  redis.call('HINCRBY', KEYS[2], ARGV[4] .. '/' .. changes[i], changes[i + 1])
end
return changes
