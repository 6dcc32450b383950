-- Gives back units that a token took of budgets, each once.
--
-- KEYS  1 what the token took (hash)   2 leases (hash, see commit.lua)   3 ends (zset)
-- ARGV  1 how long the token is remembered, milliseconds   2 the token
--       3 the lease that gets the units   4 … their names
-- Returns a list: whether the token was known, 1 or 0, then counter, change of what is taken of it,
--      next counter …; nil where something comes back and the lease is over: then nothing is done
--
-- The empty name marks a token as used: a commit that takes by it and arrives later writes nothing.

local known, changes = {}, {redis.call('EXISTS', KEYS[1])}
for i = 4, #ARGV do
  local rank = redis.call('HGET', KEYS[1], ARGV[i])
  if rank then
    known[#known + 1] = ARGV[i]
    if (tonumber(rank) or 0) % 2 == 1 then
      local counter, amount = string.match(ARGV[i], '^(.*)/[^/]*/(%d+)$')
      changes[#changes + 1] = counter or ARGV[i]
      changes[#changes + 1] = -(amount or 1)
    end
  end
end
if #changes > 1 and not redis.call('HGET', KEYS[2], ARGV[3]) then
  return false
end
for _, name in ipairs(known) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[3], ARGV[2] .. ':' .. name)
end
for i = 2, #changes, 2 do
  redis.call('HINCRBY', KEYS[2], ARGV[3] .. '/' .. changes[i], changes[i + 1])
end
redis.call('HSET', KEYS[1], '', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return changes
