-- Writes a customer's sections, answer, event ids and log records: all of it, or none.
--
-- KEYS  1 document   2 log   3 answers   4 event ids
--       5 when the customer was erased; only where nothing of before an erasure may be written, or
--         where there are more: 6 deliveries   7 those held   8 … those due, by channel
--       last, with a change of the timer or counts: near timers, buckets of far ones, counts, and,
--         where it is far, the list of its bucket; see `claim_wakes.lua`
-- ARGV  1 "1" where this very commit was sent before and its reply was lost, else "0"
--       2 the time after which nothing is written, milliseconds of this server's clock
--       3 digest of the commit's id, 8 bytes
--       4 letters of the sections to compare, of "pce" (profile, contacts, events)
--       5 the versions of all sections as read: 3 × u32, little-endian
--       6 letters of the sections to write   7, 8, 9 their bytes: profile, contacts, events
--      10 the version that a new document starts with, 1 to 2^32 - 1
--      11 request id, "" for none   12 answer   13 how long it lasts, milliseconds
--      14 how long event ids last, milliseconds   15 how many there are, n
--      16 to 15 + n their digests; then kind, id and body of each log record;
--      last, with a fifth key, the time since which there must have been no erasure, microseconds,
--      or "" for any; and with a sixth one the bodies of the deliveries that are added, and in msgpack
--      two lists: of those, {id, member, channel, place of its key}; and of those that are taken out,
--      {id, member, place of the key, what must be true, lease, reason of a dead letter or false};
--      with a timer also {which of the KEYS is that of near ones; what is added to counts; customer id;
--      when it is due, microseconds, "" for no timer any more, false for no change; when its bucket
--      begins, its member of the buckets, and what the list has of the id, "" where it stands there}
-- Returns, where it is written now, the id of its last log entry; 1 where it has none, or was
--      written when it was sent before; else, with nothing written,
--      {document or nil, answer or nil, {places (1 to n) of the event ids that are known}},
--      with a fourth value, 1, where the customer was erased since, else 0 with a fifth one, the
--      places of the deliveries that are not as is said;
--      or this server's time, in milliseconds, where it came too late
--
-- Everything that can fail comes before the first write, because a script is not rolled back.

local HEADER, HEADER_SIZE, FORMAT = '<Bc8I4I4I4I4I4I4', 33, 1
local REPEATED_WITHIN = 120000 -- milliseconds
local PRUNE_EVERY = 64 -- answers
local UNPACKED = 1000 -- arguments at a time: Lua's stack is small
local LETTERS = {'p', 'c', 'e'}

local document, log, answers, event_ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local digest, request_id, event_count = ARGV[3], ARGV[11], tonumber(ARGV[15])
local added, settled, timer
local last = #ARGV
if KEYS[6] then
  added, settled, timer = unpack(cmsgpack.unpack(ARGV[last]))
  last = last - 2 - #added
elseif KEYS[5] then
  last = last - 1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local raw = redis.call('GET', document)
local last_digest, versions, sections = '', {0, 0, 0}, {'', '', ''}
if raw then
  local format, v1, v2, v3, n1, n2, n3
  format, last_digest, v1, v2, v3, n1, n2, n3 = struct.unpack(HEADER, raw)
  if format ~= FORMAT then
    return redis.error_reply('FORMAT the document has format ' .. format)
  end
  versions = {v1, v2, v3}
  local start = HEADER_SIZE + 1
  for i, length in ipairs({n1, n2, n3}) do
    sections[i] = string.sub(raw, start, start + length - 1)
    start = start + length
  end
end

local function in_log()
  local from, to = string.format('%.0f', now - REPEATED_WITHIN), '+'
  while true do
    local entries = redis.call('XREVRANGE', log, to, from, 'COUNT', 100)
    for _, entry in ipairs(entries) do
      if entry[2][7] == 'c' and entry[2][8] == digest then
        return true
      end
    end
    if #entries < 100 then
      return false
    end
    to = '(' .. entries[#entries][1]
  end
end

if last_digest == digest or ARGV[1] == '1' and in_log() then
  return 1
end

if now > tonumber(ARGV[2]) then
  return now
end

local conflict, answer, known = false, false, {}
if request_id ~= '' then
  local kept = redis.call('HGET', answers, request_id)
  if kept and struct.unpack('<d', kept) > now then
    answer, conflict = string.sub(kept, 9), true
  end
end
for first = 1, event_count, UNPACKED do
  local last = math.min(first + UNPACKED - 1, event_count)
  local scores = redis.call('ZMSCORE', event_ids, unpack(ARGV, 15 + first, 15 + last))
  for i, score in ipairs(scores) do
    if score and tonumber(score) > now then
      table.insert(known, first + i - 1)
      conflict = true
    end
  end
end
local expected = {struct.unpack('<I4I4I4', ARGV[5])}
for i, letter in ipairs(LETTERS) do
  if string.find(ARGV[4], letter, 1, true) and expected[i] ~= versions[i] then
    conflict = true
  end
end
if KEYS[5] and ARGV[last + 1] ~= '' then
  local erased = redis.call('GET', KEYS[5])
  if erased and tonumber(erased) >= tonumber(ARGV[last + 1]) then
    return {raw, answer, known, 1}
  end
end
if KEYS[6] then
  local unsettled = {}
  for place, one in ipairs(settled) do
    local status = redis.call('HGET', KEYS[6], 's' .. one[1])
    status = status and cmsgpack.unpack(status)
    one.status = status
    local only = one[4]
    if only == 'leased' and not (status and status[4] == one[5])
      or only == 'unsent' and not (status and status[1] == 'queued' and not status[7]) then
      table.insert(unsettled, place)
      conflict = true
    end
  end
  if conflict then
    return {raw, answer, known, 0, unsettled}
  end
end
if conflict then
  return {raw, answer, known}
end

local entry = 1
for i = 16 + event_count, last, 3 do
  entry = redis.call('XADD', log, '*', 'k', ARGV[i], 'id', ARGV[i + 1], 'b', ARGV[i + 2], 'c', digest)
end

if ARGV[6] ~= '' then
  local start = tonumber(ARGV[10])
  for i, letter in ipairs(LETTERS) do
    local written = string.find(ARGV[6], letter, 1, true)
    if written then
      sections[i] = ARGV[6 + i]
    end
    if not raw then
      versions[i] = start
    elseif written then
      versions[i] = versions[i] % 4294967295 + 1
    end
  end
  local header = struct.pack(HEADER, FORMAT, digest, versions[1], versions[2], versions[3],
    #sections[1], #sections[2], #sections[3])
  redis.call('SET', document, header .. table.concat(sections))
end

local function keep(key, lasts)
  if redis.call('PTTL', key) < lasts then
    redis.call('PEXPIRE', key, lasts)
  end
end

if request_id ~= '' then
  local lasts = tonumber(ARGV[13])
  redis.call('HSET', answers, request_id, struct.pack('<d', now + lasts) .. ARGV[12])
  keep(answers, lasts)
  if redis.call('HLEN', answers) % PRUNE_EVERY == 0 then
    local kept = redis.call('HGETALL', answers)
    for i = 1, #kept, 2 do
      if #kept[i + 1] >= 8 and struct.unpack('<d', kept[i + 1]) <= now then
        redis.call('HDEL', answers, kept[i])
      end
    end
  end
end

if event_count > 0 then
  local lasts = tonumber(ARGV[14])
  local expiry = string.format('%.0f', now + lasts)
  redis.call('ZREMRANGEBYSCORE', event_ids, '-inf', now)
  for i = 16, 15 + event_count do
    redis.call('ZADD', event_ids, expiry, ARGV[i])
  end
  keep(event_ids, lasts)
end

if KEYS[6] then
  for _, one in ipairs(settled) do
    redis.call('ZREM', KEYS[7 + one[3]], one[2])
    if one[6] and one.status then
      local status = one.status
      status[1], status[4], status[5], status[6] = 'failed', '', one[6], now
      redis.call('HSET', KEYS[6], 's' .. one[1], cmsgpack.pack(status))
      redis.call('ZADD', KEYS[7], string.format('%.0f', now), one[2])
    else
      redis.call('ZREM', KEYS[7], one[2])
      redis.call('HDEL', KEYS[6], 's' .. one[1], 'd' .. one[1])
    end
  end
  for place, one in ipairs(added) do
    local status = cmsgpack.pack({'queued', one[3], 0, '', '', now, false})
    redis.call('HSET', KEYS[6], 'd' .. one[1], ARGV[last + 1 + place], 's' .. one[1], status)
    redis.call('ZADD', KEYS[7 + one[4]], string.format('%.0f', now), one[2])
  end
end

if timer then
  local place, changes, customer, at, begins, member, rest = unpack(timer)
  local near, buckets, counts, list = KEYS[place], KEYS[place + 1], KEYS[place + 2], KEYS[place + 3]
  for name, change in pairs(changes) do
    if redis.call('HINCRBY', counts, name, change) == 0 then
      redis.call('HDEL', counts, name)
    end
  end
  if at == '' then
    redis.call('ZREM', near, customer)
  elseif list and tonumber(begins) > tonumber(redis.call('ZMSCORE', buckets, '')[1] or 0) then
    redis.call('ZREM', near, customer)
    if rest ~= '' then
      if redis.call('RPUSH', list, rest) == 1 then
        redis.call('ZADD', buckets, begins, member)
      end
      redis.call('HINCRBY', counts, 'far', 1)
    end
  elseif at then
    redis.call('ZADD', near, at, customer)
  end
end

return entry
