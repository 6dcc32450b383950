-- Changes how far one delivery is.
--
-- KEYS  1 the hash of its customer   2 the zset in which it is due   3 that of what is held
-- ARGV  1 what to do   2 its id   3 its member of the zsets   4 … see each
-- Returns 1, or 0 where it is not as it is said to be: nothing is changed then.
--
-- A status is {state, channel, attempts, lease, reason, since, doubtful}; times are
-- milliseconds of this server's clock.

local STATE, ATTEMPTS, LEASE, REASON, SINCE, DOUBTFUL = 1, 3, 4, 5, 6, 7

local outbox, due, held = KEYS[1], KEYS[2], KEYS[3]
local id, member = ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local raw = redis.call('HGET', outbox, 's' .. id)
local status = raw and cmsgpack.unpack(raw)

-- Writes the status; it is due in so many milliseconds, or held.
local function put(delay)
  status[SINCE] = now
  redis.call('HSET', outbox, 's' .. id, cmsgpack.pack(status))
  if delay then
    redis.call('ZADD', due, string.format('%.0f', now + delay), member)
    redis.call('ZREM', held, member)
  else
    redis.call('ZADD', held, string.format('%.0f', now), member)
    redis.call('ZREM', due, member)
  end
  return 1
end

local act = {}

-- 4 the lease   5 for how long
function act.begin()
  if status[LEASE] ~= ARGV[4] or status[STATE] ~= 'queued' and status[STATE] ~= 'sending' then
    return 0
  end
  status[STATE], status[ATTEMPTS] = 'sending', status[ATTEMPTS] + 1
  return put(ARGV[5])
end

-- 4 the lease   5 how many attempts there were before   6 the state   7 "1" where what came of an
-- attempt is not known   8 the reason   9 after how long it is due, "" where it is held
function act.release()
  if status[LEASE] ~= ARGV[4] then
    return 0
  end
  -- One that was not begun again stays as it was: what came of the last attempt is not known.
  if ARGV[9] == '' or status[STATE] ~= 'sending' or status[ATTEMPTS] ~= tonumber(ARGV[5]) then
    status[STATE] = ARGV[6]
  end
  status[LEASE], status[REASON] = '', ARGV[8]
  status[DOUBTFUL] = status[DOUBTFUL] or ARGV[7] == '1'
  return put(ARGV[9] ~= '' and ARGV[9])
end

-- 4, 5 the state that it must have, and since when; nobody must hold its lease
function act.requeue()
  if status[STATE] ~= ARGV[4] or status[SINCE] ~= tonumber(ARGV[5]) or status[LEASE] ~= '' then
    return 0
  end
  local score = redis.call('ZMSCORE', due, member)[1]
  if score and tonumber(score) <= now then
    return 1
  end
  status[STATE], status[ATTEMPTS] = 'queued', 0
  return put(0)
end

function act.discard()
  redis.call('ZREM', due, member)
  redis.call('ZREM', held, member)
  return redis.call('HDEL', outbox, 's' .. id, 'd' .. id) > 0 and 1 or 0
end

if not status and ARGV[1] ~= 'discard' then
  return 0
end
return act[ARGV[1]]()
