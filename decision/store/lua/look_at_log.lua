-- Looks at a log; where no reader keeps its entries, removes the oldest beyond a limit.
--
-- KEYS  1 log
-- ARGV  1 how many bytes of memory the log may have, 0 for any number
--       2 how many entries to remove at most: Redis does nothing else meanwhile
--       3 how long every entry stays, milliseconds: by it commit.lua knows a commit sent again
-- Returns {entries, bytes and readers that it has now, entries removed,
--      the id of the oldest entry that some reader has not read yet, or ''}
--
-- Entries are removed in the blocks in which Redis keeps them, so the last few stay over the limit.

local log, limit = KEYS[1], tonumber(ARGV[1])
if redis.call('EXISTS', log) == 0 then
  return {0, 0, 0, 0, ''}
end

local bytes = redis.call('MEMORY', 'USAGE', log)
local entries = redis.call('XLEN', log)
local groups = redis.call('XINFO', 'GROUPS', log)
local removed, oldest = 0, ''
for _, group in ipairs(groups) do
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' then
      local unread = redis.call('XRANGE', log, '(' .. group[i + 1], '+', 'COUNT', 1)[1]
      if unread and (oldest == '' or unread[1] < oldest) then
        oldest = unread[1] -- as text: the milliseconds of all have as many digits
      end
    end
  end
end
if #groups == 0 and limit > 0 and bytes > limit then
  local beyond = math.min(ARGV[2], entries - math.floor(entries * limit / bytes))
  local before = string.format('%.0f', redis.call('TIME')[1] * 1000 - ARGV[3])
  removed = redis.call('XTRIM', log, 'MINID', '~', before, 'LIMIT', beyond)
  if removed > 0 then
    bytes = redis.call('MEMORY', 'USAGE', log)
  end
end
return {entries - removed, bytes, #groups, removed, oldest}
