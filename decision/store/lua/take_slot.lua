-- Counts one delivery of a channel, where its limit allows one.
--
-- KEYS  1 hash: part of the time → how many were counted in it
-- ARGV  1 how many at most   2 in how many milliseconds
-- Returns 0 where it is counted; else for how many milliseconds none may be.
--
-- A period of any beginning lies in 21 parts of a twentieth of it: their sum is never above the
-- limit, and what is kept does not grow with it.

local PARTS = 20

local most, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local length = math.max(1, math.ceil(period / PARTS))
local part = math.floor(now / length)

local counted, parts, counts, gone = 0, {}, {}, {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local number, count = tonumber(fields[i]), tonumber(fields[i + 1])
  if number < part - PARTS or number > part + PARTS then -- also those of another period's length
    table.insert(gone, fields[i])
  else
    table.insert(parts, number)
    counts[number] = count
    counted = counted + count
  end
end
if #gone > 0 then
  redis.call('HDEL', KEYS[1], unpack(gone))
end
if counted < most then
  local count = string.format('%.0f', (counts[part] or 0) + 1)
  redis.call('HSET', KEYS[1], string.format('%.0f', part), count)
  redis.call('PEXPIRE', KEYS[1], 2 * length * PARTS)
  return 0
end
table.sort(parts)
for _, number in ipairs(parts) do
  counted = counted - counts[number]
  if counted < most then
    return math.max(1, (number + PARTS + 1) * length - now)
  end
end
return length
