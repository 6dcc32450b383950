-- Tries a write of every kind that commits do, tells the time, and counts how often it was called.
--
-- KEYS  1 the mark (string)   2 how many beats there were   3 clocks of servers (hash)
--       4 a log (stream), of which one entry is kept
-- ARGV  1 a mark, for a store that has none   2 the server's name   3 how far its clock is ahead of
--       this one, microseconds, '' where that is not known yet
--       4 for how long a server that is silent is remembered, milliseconds
-- Returns {the time, microseconds; the mark; how many beats there were with this one;
--      {server, how far its clock is ahead, microseconds, ...}}
--
-- Whoever finds another mark, or fewer beats than Redis has acknowledged, knows that data was lost.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local mark = redis.call('GET', KEYS[1])
if not mark then
  mark = ARGV[1]
  redis.call('SET', KEYS[1], mark)
end
redis.call('XADD', KEYS[4], 'MAXLEN', 1, '*', 'b', mark)
local beats = redis.call('INCR', KEYS[2])

if ARGV[3] ~= '' then
  local until_then = string.format('%.0f', now + ARGV[4] * 1000)
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[3] .. ' ' .. until_then)
end
local clocks, kept = redis.call('HGETALL', KEYS[3]), {}
for i = 1, #clocks, 2 do
  local ahead, until_then = string.match(clocks[i + 1], '^(-?%d+) (%d+)$')
  if ahead and #ahead < 19 and tonumber(until_then) > now then
    table.insert(kept, clocks[i])
    table.insert(kept, ahead)
  else
    redis.call('HDEL', KEYS[3], clocks[i])
  end
end
return {string.format('%.0f', now), mark, beats, kept}
