-- Appends entries to a table of the register, unless it has grown since the caller read it.
--
-- KEYS  1 the table (list)
-- ARGV  1 its length as the caller knows it, in entries   2 … entries
-- Returns 1 where they were appended; else the entries that the caller does not know yet.
--      Error LOST where the table is shorter than the caller knows it

local known = tonumber(ARGV[1])
local length = redis.call('LLEN', KEYS[1])
if length < known then
  return redis.error_reply('LOST the register has ' .. length .. ' entries, not ' .. known)
end
if length > known then
  return redis.call('LRANGE', KEYS[1], known, -1)
end
for i = 2, #ARGV do
  redis.call('RPUSH', KEYS[1], ARGV[i])
end
return 1
