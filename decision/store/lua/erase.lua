-- Removes a customer's document, answers, event ids and deliveries, and logs the erasure.
--
-- KEYS  1 document   2 log   3 answers   4 event ids
--       5 where it is noted when this was, in microseconds of this server's clock; not always
--       6 deliveries   7 those held   8 counts of runs   9 … those due, by channel; not always
-- ARGV  1 version of the profile as read (u32), 0 for no document, -1 for any version;
--         the aliases that the profile lists are already deleted
--       2, 3, 4 kind, id and body of the log record   5 digest of the record's id, 8 bytes
--       6 for how long it is noted, milliseconds; "" where it is not
--       7 the member of a delivery's zset without the delivery's id
--       8 version of the events as read, -1 for any version   9 what is added to counts, msgpack
--      10 … the channels, by their keys
-- Returns how many documents, answers, event ids and, with a sixth key, deliveries there were.
--      Nothing is logged as well, because the archive may still hold rows. -1, with nothing done,
--      where one of these has changed; or the channels of deliveries that are on none of these

local expected = tonumber(ARGV[1])
if expected >= 0 then
  local raw = redis.call('GET', KEYS[1])
  local profile, _, events = 0, 0, 0
  if raw then
    profile, _, events = struct.unpack('<I4I4I4', raw, 10)
  end
  if expected ~= profile or KEYS[6] and tonumber(ARGV[8]) ~= events then
    return -1
  end
end
local due, ids, missing = {}, {}, {}
if KEYS[6] then
  for place = 9, #KEYS do
    due[ARGV[place + 1]] = KEYS[place]
  end
  local fields = redis.call('HGETALL', KEYS[6])
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == 's' then
      local channel = cmsgpack.unpack(fields[i + 1])[2]
      if due[channel] then
        ids[#ids + 1] = {ARGV[7] .. string.sub(fields[i], 2), due[channel]}
      else
        missing[#missing + 1] = channel
      end
    end
  end
  if #missing > 0 then
    return missing
  end
  for _, one in ipairs(ids) do
    redis.call('ZREM', one[2], one[1])
    redis.call('ZREM', KEYS[7], one[1])
  end
  redis.call('DEL', KEYS[6])
  for name, change in pairs(cmsgpack.unpack(ARGV[9])) do
    if redis.call('HINCRBY', KEYS[8], name, change) == 0 then
      redis.call('HDEL', KEYS[8], name)
    end
  end
end
local answers, event_ids = redis.call('HLEN', KEYS[3]), redis.call('ZCARD', KEYS[4])
redis.call('XADD', KEYS[2], '*', 'k', ARGV[2], 'id', ARGV[3], 'b', ARGV[4], 'c', ARGV[5])
redis.call('DEL', KEYS[3], KEYS[4])
if KEYS[5] and ARGV[6] ~= '' then
  local time = redis.call('TIME')
  redis.call('SET', KEYS[5], string.format('%.0f', time[1] * 1000000 + time[2]), 'PX', ARGV[6])
end
local documents = redis.call('DEL', KEYS[1])
if KEYS[6] then
  return {documents, answers, event_ids, #ids}
end
return {documents, answers, event_ids}
