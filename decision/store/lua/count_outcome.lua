-- Counts what became of a delivery of a channel.
--
-- KEYS  1 hash: "<part of the time>:<kind>" → how many
-- ARGV  1 kind   2 length of a part, milliseconds   3 how long counts matter, milliseconds

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local part = math.floor(now / tonumber(ARGV[2]))
local field = string.format('%.0f', part) .. ':' .. ARGV[1]
if redis.call('HINCRBY', KEYS[1], field, 1) == 1 then
  local first = math.floor((now - tonumber(ARGV[3])) / tonumber(ARGV[2]))
  for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
    if tonumber(string.match(name, '^%d+')) < first then
      redis.call('HDEL', KEYS[1], name)
    end
  end
end
redis.call('PEXPIRE', KEYS[1], 2 * tonumber(ARGV[3]))
