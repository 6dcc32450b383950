-- Notes that a kept answer is given to one more caller.
--
-- KEYS  1 answers
-- ARGV  1 request id   2 id of the decision that the answer is
--       3 digest of that id: the claim of the caller for whom it was decided, there from the start
--       4 digest of this claim; 8 bytes each
-- Returns 1, or 0 where the answer of that decision is no longer kept
--
-- Claims carry the expiry of the answer that they are about, which tells them from those of an
-- earlier answer. After MOST claims the answer counts as given for good: that claim never ends.

local MOST, FOR_GOOD = 16, string.rep('\255', 8)
local time = redis.call('TIME')
local kept = redis.call('HGET', KEYS[1], ARGV[1])
if not kept or struct.unpack('<d', kept) <= time[1] * 1000 + math.floor(time[2] / 1000)
    or not string.find(kept, ARGV[2], 9, true) then
  return 0
end
local field, expiry, claims = '\0' .. ARGV[1], string.sub(kept, 1, 8), ARGV[3]
local noted = redis.call('HGET', KEYS[1], field)
if noted and string.sub(noted, 1, 8) == expiry then
  claims = string.sub(noted, 9)
end
if #claims <= 8 * MOST then
  redis.call('HSET', KEYS[1], field, expiry .. claims .. (#claims < 8 * MOST and ARGV[4] or FOR_GOOD))
end
return 1
