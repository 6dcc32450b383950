-- Removes a customer's document, answers and event ids, and logs the erasure.
--
-- KEYS  1 document   2 log   3 answers   4 event ids
--       5 where it is noted when this was, in microseconds of this server's clock; not always
-- ARGV  1 version of the profile as read (u32), 0 for no document, -1 for any version;
--         the aliases that the profile lists are already deleted
--       2, 3, 4 kind, id and body of the log record   5 digest of the record's id, 8 bytes
--       6 for how long it is noted, milliseconds
-- Returns how many documents, answers and event ids there were. Nothing is logged as well, because
--      the archive may still hold rows. -1, with nothing done, where the profile has changed

local expected = tonumber(ARGV[1])
if expected >= 0 then
  local raw = redis.call('GET', KEYS[1])
  if expected ~= (raw and struct.unpack('<I4', raw, 10) or 0) then
    return -1
  end
end
local answers, event_ids = redis.call('HLEN', KEYS[3]), redis.call('ZCARD', KEYS[4])
redis.call('XADD', KEYS[2], '*', 'k', ARGV[2], 'id', ARGV[3], 'b', ARGV[4], 'c', ARGV[5])
redis.call('DEL', KEYS[3], KEYS[4])
if KEYS[5] then
  local time = redis.call('TIME')
  redis.call('SET', KEYS[5], string.format('%.0f', time[1] * 1000000 + time[2]), 'PX', ARGV[6])
end
return {redis.call('DEL', KEYS[1]), answers, event_ids}
