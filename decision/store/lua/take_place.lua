-- Takes one of a number of places, unless it is taken by the same already.
--
-- KEYS  1 places by when somebody looked whether who has one is still there (zset)
-- ARGV  1 who   2 how many places there are
-- Returns 1 where who asks has a place, 0 where all are taken.

if redis.call('ZMSCORE', KEYS[1], ARGV[1])[1] then
  return 1
end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], string.format('%.0f', time[1] * 1000000 + time[2]), ARGV[1])
return 1
