-- Claims deliveries of one partition, each unless somebody else did meanwhile.
--
-- KEYS  for each delivery: the zset in which it is due, the hash of its customer
-- ARGV  1 the lease, a name that no other has   2 for how long, milliseconds of this server's clock
--       3 "1" to claim only what is due, "0" also what nobody holds yet
--       then for each delivery its id and its member of the zset
-- Returns what is claimed: its place from 1, the status before, the body.
--
-- What has no body any more, because its customer was erased, is taken out.

local LEASE, STATE, DOUBTFUL = 4, 1, 7

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = string.format('%.0f', now + ARGV[2])
local claimed = {}
for place = 1, #KEYS / 2 do
  local due, outbox = KEYS[2 * place - 1], KEYS[2 * place]
  local id, member = ARGV[2 * place + 2], ARGV[2 * place + 3]
  local score = redis.call('ZMSCORE', due, member)[1]
  local raw = score and redis.call('HGET', outbox, 's' .. id)
  local body = raw and redis.call('HGET', outbox, 'd' .. id)
  if body then
    local status = cmsgpack.unpack(raw)
    if tonumber(score) <= now or ARGV[3] == '0' and status[LEASE] == '' then
      status[LEASE] = ARGV[1]
      status[DOUBTFUL] = status[DOUBTFUL] or status[STATE] == 'sending'
      raw = cmsgpack.pack(status)
      redis.call('HSET', outbox, 's' .. id, raw)
      redis.call('ZADD', due, ends, member)
      claimed[#claimed + 1] = {place, raw, body}
    end
  elseif score then
    redis.call('ZREM', due, member)
  end
end
return claimed
