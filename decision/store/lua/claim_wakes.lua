-- Claims the timers of a partition that are due; before, brings far ones near.
--
-- KEYS  1 near timers (zset)   2 the buckets of far ones (zset)   3 counts (hash)
--       4 … those to be brought near (lists)
-- ARGV  1 how long a lease lasts, microseconds of this server's clock   2 how many at most
--       3 a random number, 0 to 1
--       then for each list its member of the buckets, when its bucket begins, the prefix of its ids
-- Returns {when the leases end, id, when it was due, …}, the earliest first; times in microseconds.
--
-- The member "" of the buckets says up to which begin they were brought near: whoever sets a timer
-- for a bucket that begins by then keeps it near, and no clock that is set back changes that.
-- Ends of leases are odd, timers are even. Where a customer has a timer already, the earlier one
-- stays. A lease stays, but for a moment: so whoever has it, and may not know of the timer that came,
-- cannot set another, and the customer is looked at again when it ends.

local AT_A_TIME = 500

local near, buckets = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function exact(number)
  return string.format('%.0f', number)
end

for place = 4, #KEYS do
  local given = 3 * place - 8
  local begins, prefix = tonumber(ARGV[given + 1]), ARGV[given + 2]
  local entries = redis.call('LRANGE', KEYS[place], 0, AT_A_TIME - 1)
  redis.call('LTRIM', KEYS[place], AT_A_TIME, -1)
  redis.call('ZADD', buckets, 'GT', exact(begins), '')
  local span = math.max(begins - now, 0)
  for i, entry in ipairs(entries) do
    local at = begins - math.ceil(span * (1 - (i - 1 + ARGV[3]) / #entries))
    at = at - at % 2
    local customer = prefix .. entry
    if redis.call('ZADD', near, 'NX', exact(at), customer) == 0 then
      local score = tonumber(redis.call('ZMSCORE', near, customer)[1])
      at = score % 2 == 1 and score - 2 or math.min(score, at)
      redis.call('ZADD', near, exact(at), customer)
    end
  end
  if #entries > 0 then
    redis.call('HINCRBY', KEYS[3], 'far', -#entries)
  end
  if #entries < AT_A_TIME then
    redis.call('ZREM', buckets, ARGV[given])
  end
end

local found = redis.call('ZRANGEBYSCORE', near, '-inf', exact(now), 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local ends = now + ARGV[1]
ends = exact(ends + 1 - ends % 2)
for i = 1, #found, 2 do
  redis.call('ZADD', near, ends, found[i])
end
table.insert(found, 1, ends)
return found
