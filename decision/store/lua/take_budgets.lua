-- Notes the units of budgets that a decision takes, out of what a lease was given.
--
-- KEYS  1 what the token took (hash)   2 leases (hash)   3 ends of reservations (zset)
-- ARGV  1 how long the token is remembered, milliseconds   2 the token   3 the lease
--       then name of each unit, and when it comes back by itself unless it is confirmed,
--       microseconds, '' for never
-- Returns 1 where they are taken; 0 where the token took before, or took nothing any more;
--      nil where the lease is over. Then nothing is changed.
--
-- A unit's name ends in /message/amount, in the unit of its counter; without, it is a counter's own
-- name and takes 1. The token's hash has the rank of each unit (see settle_budgets.lua), -1 at first.
-- Of a lease that is open in this partition, the hash has its name, and under its name, a slash and
-- a counter's how much was taken of that here. Numbers are below 2^53, up to which Lua's are exact.

if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
if not redis.call('HGET', KEYS[2], ARGV[3]) then
  return false
end
for i = 4, #ARGV, 2 do
  local counter, amount = string.match(ARGV[i], '^(.*)/[^/]*/(%d+)$')
  redis.call('HINCRBY', KEYS[2], ARGV[3] .. '/' .. (counter or ARGV[i]), amount or 1)
end
redis.call('HSET', KEYS[1], '', 0)
for i = 4, #ARGV, 2 do
  local name, ends = ARGV[i], ARGV[i + 1]
  redis.call('HSET', KEYS[1], name, -1)
  if ends ~= '' then
    redis.call('ZADD', KEYS[3], ends, ARGV[2] .. ':' .. name)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
