-- Copies a log part by part, and puts the complete copy in its place. A stream keeps the bytes of
-- removed entries beside those that are left; the copy has only these, under the same entry ids.
--
-- KEYS  1 log   2 the copy
-- ARGV  1 where to go on: "-" to begin anew, else what the call before returned
--       2 how many entries at most
-- Returns where to go on; "" once the copy is in place, or where there is nothing to copy;
--      nil where entries were removed meanwhile: begin anew

local log, copy, count = KEYS[1], KEYS[2], tonumber(ARGV[2])
if ARGV[1] == '-' then
  redis.call('DEL', copy)
end
if redis.call('EXISTS', log) == 0 or redis.call('XLEN', log) == 0 then
  redis.call('DEL', copy)
  return ''
end
local entries = redis.call('XRANGE', log, ARGV[1], '+', 'COUNT', count)
for _, entry in ipairs(entries) do
  redis.call('XADD', copy, entry[1], unpack(entry[2]))
end
if #entries == count then
  return '(' .. entries[count][1]
end

-- What was added meanwhile is copied by now; if something was removed, the copy is longer.
if redis.call('XLEN', copy) ~= redis.call('XLEN', log) then
  redis.call('DEL', copy)
  return false
end
local function fields(reply)
  local found = {}
  for i = 1, #reply, 2 do
    found[reply[i]] = reply[i + 1]
  end
  return found
end
for _, reply in ipairs(redis.call('XINFO', 'GROUPS', log)) do
  local group = fields(reply)
  redis.call('XGROUP', 'CREATE', copy, group['name'], group['last-delivered-id'])
end
redis.call('XSETID', copy, fields(redis.call('XINFO', 'STREAM', log))['last-generated-id'])
redis.call('RENAME', copy, log)
return ''
