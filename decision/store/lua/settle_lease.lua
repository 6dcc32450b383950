-- Ends a lease: what it was given and nobody took comes back.
--
-- KEYS  1 leases (zset)   2 what it was given (hash)   3 … counters
-- ARGV  1 the lease   then for each counter its name, and how much of it was taken by the lease
-- Returns 1, or 0 where the lease was settled before
--
-- It is called once no partition takes for the lease any more, and has all counters of the hash.

-- Whether a counter can be counted on: not gone, no damaged value, no key of another type.
local function counts(counter)
  local held = redis.call('TYPE', counter).ok == 'string' and redis.call('GET', counter)
  return held and #held < 17 and string.find(held, '^%-?%d+$')
end

if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then
  return 0
end
for i = 3, #KEYS do
  local at = 2 * i - 4
  local given = tonumber(redis.call('HGET', KEYS[2], ARGV[at]) or '') or 0
  local unused = given - tonumber(ARGV[at + 1])
  if unused ~= 0 and counts(KEYS[i]) then
    redis.call('INCRBY', KEYS[i], -unused)
  end
end
redis.call('DEL', KEYS[2])
return 1
