-- Counts what became of a delivery of a channel.
--
-- KEYS  1 hash: "<part of the time>:<kind>" → how many
-- ARGV  1 kind   2 length of a part, milliseconds   3 how long counts matter, milliseconds

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local part = math.floor(now / tonumber(ARGV[2]))
local field = string.format('%.0f', part) .. ':' .. ARGV[1]
local before = redis.call('HGET', KEYS[1], field)
redis.call('HSET', KEYS[1], field, string.format('%.0f', (before or 0) + 1))
if not before then
  local first = math.floor((now - tonumber(ARGV[3])) / tonumber(ARGV[2]))
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    if tonumber(string.match(fields[i], '^%d+')) < first then
      redis.call('HDEL', KEYS[1], fields[i])
    end
  end
end
redis.call('PEXPIRE', KEYS[1], 2 * tonumber(ARGV[3]))
