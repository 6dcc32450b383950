-- Writes a customer's sections, answer, event ids and log records: all of it, or none.
--
-- KEYS  1 document   2 log
--       only where one of them, or one of those that follow, is of use: 3 answers   4 event ids
--       5 when the customer was erased; only where nothing of before an erasure may be written, or
--         where there are more: 6 deliveries   7 those held   8 … those due, by channel
--       then, with a change of the timer or counts: near timers, buckets of far ones, counts, and,
--         where it is far, the list of its bucket; see `claim_wakes.lua`
--       last of all, with units of budgets: what the token took (hash), leases (hash), ends of
--         reservations (zset); see `store/leases.py`
-- ARGV  1 what every commit says, little-endian:
--         f64 the time after which nothing is written, milliseconds of this server's clock
--         8 bytes, digest of the commit's id   3 × u32, the versions of the sections as read: profile,
--         contacts, events   u32, the version that a new document starts with, at least 1
--         3 × u8, of each section: 1 where its version is compared, and 2 more where it is written
--         u8, 1 where this very commit was sent before and its reply was lost
--         u8, 1 where there is a request id   u32, how many event ids there are, n
--         u8, 1 where units of budgets are taken
--       then, where there is such a thing:
--         the bytes of each section that is written
--         request id, answer, how long it lasts, milliseconds
--         how long event ids last, milliseconds, and their n digests
--         kind, id and body of each log record
--       last, with a fifth key, the time since which there must have been no erasure, microseconds,
--      or "" for any; and with a sixth one the bodies of the deliveries that are added, and in msgpack
--      two lists: of those, {id, member, channel, place of its key}; and of those that are taken out,
--      {id, member, place of the key, what must be true, lease, reason of a dead letter or false};
--      with a timer also {which of the KEYS is that of near ones; what is added to counts; customer id;
--      when it is due, microseconds, "" for no timer any more, false for no change; when its bucket
--      begins, its member of the buckets, and what the list has of the id, "" where it stands there}
--       last of all, with units, in msgpack {how long the token is remembered, milliseconds; the token;
--      the lease they are taken of; {name of a unit, when it comes back by itself unless it is
--      confirmed, microseconds, "" for never, name of the next one …}; whether they replace what the
--      token took for the same message, which must have been given back}
-- Returns, where it is written now, the id of its last log entry, 1 where it has none; 2 where it was
--      written when it was sent before; else, with nothing written, nil where the lease is over;
--      {document or nil, answer or nil, {places (1 to n) of the event ids that are known}},
--      with a fourth value, 1, where the customer was erased since, else 0 with a fifth one, the
--      places of the deliveries that are not as is said;
--      or this server's time, in milliseconds, where it came too late
--
-- A unit's name ends in /message/amount, in the unit of its counter; without, it is a counter's own
-- name and takes 1. Of a lease that is open in this partition, the hash has its name, and under its
-- name, a slash and a counter's how much was taken of that here. The token's hash has the rank of each
-- unit (see settle_budgets.lua), -1 at first, and under '' the digest of what replaced some. Numbers are below 2^53, up to which Lua's are exact.
--
-- Everything that can fail comes before the first write, because a script is not rolled back. What a
-- commit does not ask for costs it nothing: no key, no argument, no call and no function.

local HEAD = '<dc8I4I4I4I4BBBBBI4B'
local HEADER, HEADER_SIZE, FORMAT = '<Bc8I4I4I4I4I4I4', 33, 1
local REPEATED_WITHIN = 120000 -- milliseconds
local PRUNE_EVERY = 64 -- answers
local UNPACKED = 1000 -- arguments at a time: Lua's stack is small

local log = KEYS[2]
local latest, digest, read_p, read_c, read_e, start, in_p, in_c, in_e, sent, asked, event_count, takes =
  struct.unpack(HEAD, ARGV[1])
local units, token, leases, ends
if takes == 1 then
  units = cmsgpack.unpack(table.remove(ARGV))
  ends, leases, token = table.remove(KEYS), table.remove(KEYS), table.remove(KEYS)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local raw = redis.call('GET', KEYS[1])
local format, last_digest, p, c, e, size_p, size_c, size_e = FORMAT, '', 0, 0, 0, 0, 0, 0
if raw then
  format, last_digest, p, c, e, size_p, size_c, size_e = struct.unpack(HEADER, raw)
  if format ~= FORMAT then
    return redis.error_reply('FORMAT the document has format ' .. format)
  end
end

if last_digest == digest then
  return 2
end
if sent == 1 and units then
  local found = redis.call('HGET', token, units[5] and '' or units[4][1])
  if found and (not units[5] or found == digest) then
    return 2
  end
end
if sent == 1 then
  local from, to = string.format('%.0f', now - REPEATED_WITHIN), '+'
  local entries
  repeat
    entries = redis.call('XREVRANGE', log, to, from, 'COUNT', 100)
    for _, entry in ipairs(entries) do
      if entry[2][7] == 'c' and entry[2][8] == digest then
        return 2
      end
    end
    to = #entries > 0 and '(' .. entries[#entries][1]
  until #entries < 100
end

if now > latest then
  return now
end

local conflict = in_p % 2 == 1 and read_p ~= p
  or in_c % 2 == 1 and read_c ~= c
  or in_e % 2 == 1 and read_e ~= e

local replaced
if units and not units[5] then
  conflict = conflict or redis.call('EXISTS', token) == 1 -- it took, or may not take any more
elseif units then
  local function message_of(unit)
    return string.match(unit, '/([^/]*)/%d+$') or string.match(unit, '^(.*):[^:]*$')
  end
  local taken, message = redis.call('HGETALL', token), message_of(units[4][1])
  replaced = {}
  for i = 1, #taken, 2 do
    if message_of(taken[i]) == message then
      conflict = conflict or (tonumber(taken[i + 1]) or 0) % 2 == 1
      table.insert(replaced, taken[i])
    end
  end
end

local place = 2
local profile, contacts, events
if in_p > 1 then
  profile, place = ARGV[place], place + 1
end
if in_c > 1 then
  contacts, place = ARGV[place], place + 1
end
if in_e > 1 then
  events, place = ARGV[place], place + 1
end

local answer, known = false, false
local request_id, new_answer, answer_lasts, events_last, first_event
if KEYS[3] then
  known = {}
  if asked == 1 then
    request_id, new_answer, answer_lasts = ARGV[place], ARGV[place + 1], ARGV[place + 2]
    place = place + 3
    local kept = redis.call('HGET', KEYS[3], request_id)
    if kept and struct.unpack('<d', kept) > now then
      answer, conflict = string.sub(kept, 9), true
    end
  end
  if event_count > 0 then
    events_last, first_event = ARGV[place], place + 1
    place = first_event + event_count
  end
  for first = 1, event_count, UNPACKED do
    local last = math.min(first + UNPACKED, event_count + 1) - 1
    local scores = redis.call(
      'ZMSCORE', KEYS[4], unpack(ARGV, first_event + first - 1, first_event + last - 1))
    for i, score in ipairs(scores) do
      if score and tonumber(score) > now then
        table.insert(known, first + i - 1)
        conflict = true
      end
    end
  end
end

local last = #ARGV
local added, settled, timer
if KEYS[5] then
  if KEYS[6] then
    added, settled, timer = unpack(cmsgpack.unpack(ARGV[last]))
    last = last - 1 - #added
  end
  last = last - 1
  if ARGV[last + 1] ~= '' then
    local erased = redis.call('GET', KEYS[5])
    if erased and tonumber(erased) >= tonumber(ARGV[last + 1]) then
      return {raw, answer, known, 1}
    end
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
  return {raw, answer, known or {}}
end

local amounts, ranks
if units then
  local lease, names = units[3], units[4]
  amounts, ranks = {}, {'', replaced and digest or 0}
  if not redis.call('HGET', leases, lease) then
    return false
  end
  redis.call('ZCARD', ends) -- fails where it is of another type
  for i = 1, #names, 2 do
    local counter, amount = string.match(names[i], '^(.*)/[^/]*/(%d+)$')
    local noted = lease .. '/' .. (counter or names[i])
    if not string.find(redis.call('HGET', leases, noted) or '0', '^%-?%d+$') then
      return redis.error_reply('ERR what was taken for a lease is no whole number')
    end
    amounts[i], amounts[i + 1] = noted, amount or 1
    ranks[i + 2], ranks[i + 3] = names[i], -1
  end
end

local entry = 1
for i = place, last, 3 do
  entry = redis.call('XADD', log, '*', 'k', ARGV[i], 'id', ARGV[i + 1], 'b', ARGV[i + 2], 'c', digest)
end

if units then
  for i = 1, #amounts, 2 do
    redis.call('HINCRBY', leases, amounts[i], amounts[i + 1])
    if units[4][i + 1] ~= '' then
      redis.call('ZADD', ends, units[4][i + 1], units[2] .. ':' .. units[4][i])
    end
  end
  if replaced and #replaced > 0 then
    redis.call('HDEL', token, unpack(replaced))
  end
  redis.call('HSET', token, unpack(ranks))
  redis.call('PEXPIRE', token, units[1])
end

if profile or contacts or events then
  if not raw then
    raw, p, c, e = '', start, start, start
  else
    p = profile and p % 4294967295 + 1 or p
    c = contacts and c % 4294967295 + 1 or c
    e = events and e % 4294967295 + 1 or e
  end
  local after_p = HEADER_SIZE + size_p
  profile = profile or string.sub(raw, HEADER_SIZE + 1, after_p)
  contacts = contacts or string.sub(raw, after_p + 1, after_p + size_c)
  events = events or string.sub(raw, after_p + size_c + 1, after_p + size_c + size_e)
  local header = struct.pack(HEADER, FORMAT, digest, p, c, e, #profile, #contacts, #events)
  redis.call('SET', KEYS[1], header .. profile .. contacts .. events)
end

if asked == 1 or event_count > 0 then
  local function keep(key, lasts)
    if redis.call('PTTL', key) < lasts then
      redis.call('PEXPIRE', key, lasts)
    end
  end

  if asked == 1 then
    local lasts, answers = tonumber(answer_lasts), KEYS[3]
    redis.call('HSET', answers, request_id, struct.pack('<d', now + lasts) .. new_answer)
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
    local lasts, event_ids = tonumber(events_last), KEYS[4]
    local expiry = string.format('%.0f', now + lasts)
    redis.call('ZREMRANGEBYSCORE', event_ids, '-inf', now)
    for i = first_event, first_event + event_count - 1 do
      redis.call('ZADD', event_ids, expiry, ARGV[i])
    end
    keep(event_ids, lasts)
  end
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
