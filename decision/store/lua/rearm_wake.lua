-- Sets a timer anew for whoever has claimed it.
--
-- KEYS  1 near timers (zset)   2 the buckets of far ones (zset)   3 counts (hash)
--       4 the far timers of a bucket (list); not for one that is kept near
-- ARGV  1 customer id   2 when the lease ends, microseconds of this server's clock
--       3 when it is due, microseconds, "" for no timer any more
--       4 when the bucket begins   5 its member of the buckets
--       6 what the list has of the id, "" where it stands there already
-- Returns 1; 0, with nothing done, where the lease is lost.
--
-- Who is asked too early, as a clock is behind this one, is asked again after a while that grows with
-- how far it is behind.

local SOON = 20000 -- microseconds

local near, buckets, customer = KEYS[1], KEYS[2], ARGV[1]
local score = redis.call('ZMSCORE', near, customer)[1]
if not score or tonumber(score) ~= tonumber(ARGV[2]) then
  return 0
end
if ARGV[3] == '' then
  redis.call('ZREM', near, customer)
elseif KEYS[4] and tonumber(ARGV[4]) > tonumber(redis.call('ZMSCORE', buckets, '')[1] or 0) then
  redis.call('ZREM', near, customer)
  if ARGV[6] ~= '' then
    if redis.call('RPUSH', KEYS[4], ARGV[6]) == 1 then
      redis.call('ZADD', buckets, ARGV[4], ARGV[5])
    end
    redis.call('HINCRBY', KEYS[3], 'far', 1)
  end
else
  local time = redis.call('TIME')
  local now, at = time[1] * 1000000 + time[2], tonumber(ARGV[3])
  if at <= now then
    at = now + math.max(SOON, math.floor((now - at) / 4))
  end
  redis.call('ZADD', near, string.format('%.0f', at - at % 2), customer)
end
return 1
