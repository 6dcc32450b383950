-- Ends a claim on a kept answer, and removes the answer where it was the last one.
--
-- KEYS  1 answers
-- ARGV  as of claim_answer.lua; 4 is the claim that ends
-- Returns 1 where the answer of that decision is not kept now, 0 where others claim it

local kept = redis.call('HGET', KEYS[1], ARGV[1])
if not kept or not string.find(kept, ARGV[2], 9, true) then
  return 1
end
local field, expiry, claims = '\0' .. ARGV[1], string.sub(kept, 1, 8), ARGV[3]
local noted = redis.call('HGET', KEYS[1], field)
if noted and string.sub(noted, 1, 8) == expiry then
  claims = string.sub(noted, 9)
end
local left = ''
for first = 1, #claims, 8 do
  local claim = string.sub(claims, first, first + 7)
  if claim ~= ARGV[4] then
    left = left .. claim
  end
end
if left == '' then
  redis.call('HDEL', KEYS[1], ARGV[1], field)
  return 1
end
if left ~= claims then
  redis.call('HSET', KEYS[1], field, expiry .. left)
end
return 0
