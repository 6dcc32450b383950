-- Tells other servers of one, and forgets those that have been silent for long.
--
-- KEYS  1 hash: server → when it told last, microseconds, a space, and what
-- ARGV  1 the server's name   2 what it tells   3 how long a silent one is kept, microseconds

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
local servers = redis.call('HGETALL', KEYS[1])
for i = 1, #servers, 2 do
  local at = tonumber(string.match(servers[i + 1], '^(%d+) '))
  if not at or at + ARGV[3] <= now then
    redis.call('HDEL', KEYS[1], servers[i])
  end
end
