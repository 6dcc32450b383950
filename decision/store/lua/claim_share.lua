-- Claims a share of the log for whoever archives it, or keeps it for longer.
--
-- KEYS  1 hash: share, as 1/2 → until when (microseconds), a space, and who
-- ARGV  1 the share   2 who   3 for how long, microseconds; 0 gives it back
-- Returns who is in the way, if somebody is: with the same share, or with one of another number of
-- shares. Nothing is changed then.

local share, who, lasts = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local held = redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
  local until_then, other = string.match(held[i + 1], '^(%d+) (.*)$')
  if not until_then or tonumber(until_then) <= now then
    redis.call('HDEL', KEYS[1], held[i])
  elseif other ~= who
    and (held[i] == share or string.match(held[i], '/.*') ~= string.match(share, '/.*')) then
    return other
  end
end

if lasts > 0 then
  redis.call('HSET', KEYS[1], share, string.format('%.0f', now + lasts) .. ' ' .. who)
else
  redis.call('HDEL', KEYS[1], share)
end
return false
