-- Makes sure that customers of one partition have a timer at a time or before.
--
-- KEYS  1 near timers (zset)   2 the buckets of far ones (zset)   3 counts (hash)
--       4 … the far timers of buckets (lists)
-- ARGV  for each customer: id; when it is due, microseconds; which of the KEYS is its list, 0 for
--       none; when the bucket begins; its member of the buckets; what the list has of the id
--
-- A customer's earlier timer stays, and a lease but for a moment: see `claim_wakes.lua`.

local near, buckets = KEYS[1], KEYS[2]
local brought = tonumber(redis.call('ZMSCORE', buckets, '')[1] or 0)
for i = 1, #ARGV, 6 do
  local customer, at, list = ARGV[i], tonumber(ARGV[i + 1]), KEYS[tonumber(ARGV[i + 2])]
  if list and tonumber(ARGV[i + 3]) > brought then
    if redis.call('RPUSH', list, ARGV[i + 5]) == 1 then
      redis.call('ZADD', buckets, ARGV[i + 3], ARGV[i + 4])
    end
    redis.call('HINCRBY', KEYS[3], 'far', 1)
  else
    at = at - at % 2
    local score = tonumber(redis.call('ZMSCORE', near, customer)[1] or at)
    at = score % 2 == 1 and score - 2 or math.min(score, at)
    redis.call('ZADD', near, string.format('%.0f', at), customer)
  end
end
return 1
