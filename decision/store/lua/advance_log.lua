-- Notes how far a reader of a log has come, and removes the entries that no reader needs any more.
--
-- KEYS  1 log
-- ARGV  1 the reader: the name of a consumer group
--       2 id of the last entry it is done with   3 the entry id that follows it
--       4 entries from this time on are kept, milliseconds since 1970
-- Returns how many entries were removed

local log, reader = KEYS[1], ARGV[1]
if redis.call('EXISTS', log) == 0 then
  redis.call('XGROUP', 'CREATE', log, reader, ARGV[2], 'MKSTREAM')
  return 0
end

local function parts(id)
  local millis, sequence = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(millis), tonumber(sequence)
end

local function before(one, other)
  local a, b = parts(one)
  local c, d = parts(other)
  return a < c or (a == c and b < d)
end

local first = ARGV[3]
local oldest = ARGV[4] .. '-0'
if before(oldest, first) then
  first = oldest
end
local known = false
for _, group in ipairs(redis.call('XINFO', 'GROUPS', log)) do
  local fields = {}
  for i = 1, #group, 2 do
    fields[group[i]] = group[i + 1]
  end
  if fields['name'] == reader then
    known = true
  elseif before(fields['last-delivered-id'], first) then
    local millis, sequence = string.match(fields['last-delivered-id'], '^(%d+)-(%d+)$')
    first = millis .. '-' .. string.format('%.0f', tonumber(sequence) + 1)
  end
end
if known then
  redis.call('XGROUP', 'SETID', log, reader, ARGV[2])
else
  redis.call('XGROUP', 'CREATE', log, reader, ARGV[2])
end
return redis.call('XTRIM', log, 'MINID', first)
