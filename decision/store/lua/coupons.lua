-- All that changes a pool of coupon codes.
--
-- KEYS  1 codes   2 queue   3 ends   4 left   5 counts   6 t:<tag>, where it is about a token;
--       all that it may touch, because a cluster that moves them looks at these alone
--   codes   hash    code → '' free, h held, g given, each with the number of who has it, r redeemed,
--                   s staged: nobody gets it while it is looked up in the other pools
--   queue   list    free codes, the next one first; also some that are free no more, or twice
--   ends    zset    codes that are held or given, by when they are free again, microseconds
--   left    string  how many are free, a blank, and the first of these times or nothing
--   counts  hash    free, given, redeemed; back: how often a code came back; taken: a last number
--   t:<tag> hash    token/message → rank, number, back, rest (microseconds), code, between blanks;
--                   token → '' where it takes nothing any more
-- ARGV  1 what to do   2 the present, microseconds   3 … see each
--
-- Ranks are those of settle_budgets.lua. Numbers are below 2^53, up to which Lua's are exact.

local codes, queue, ends, left, counts, mine = unpack(KEYS)
local now = tonumber(ARGV[2])

local AT_A_TIME = 1000 -- codes that one call frees: Redis does nothing else meanwhile
local SKIPPED = 10000  -- entries of the queue that one call looks at to find free codes

local NAMES = {[''] = 'free', g = 'given', r = 'redeemed'}

local function count(name, change)
  if name and change ~= 0 then
    redis.call('HSET', counts, name, (tonumber(redis.call('HGET', counts, name) or '') or 0) + change)
  end
end

-- Changes the state of a code; `time` is when it is free again, '' for never.
local function put(code, before, after, time)
  redis.call('HSET', codes, code, after)
  if time == '' then
    redis.call('ZREM', ends, code)
  else
    redis.call('ZADD', ends, time, code)
  end
  count(NAMES[string.sub(before, 1, 1)], -1)
  count(NAMES[string.sub(after, 1, 1)], 1)
end

local function free(code, before)
  put(code, before, '', '')
  redis.call('RPUSH', queue, code)
  count('back', 1)
end

local function free_what_is_due()
  for _, code in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, AT_A_TIME)) do
    local held = redis.call('HGET', codes, code)
    if held and string.find(held, '^[hg]') then
      free(code, held)
    else
      redis.call('ZREM', ends, code)
    end
  end
end

-- Takes that many free codes out of the queue; nil where they are not found.
local function next_free(wanted)
  local found, seen, looked = {}, {}, 0
  while #found < wanted and looked < SKIPPED do
    local entries = redis.call('LRANGE', queue, looked, looked + wanted + 99 * math.min(looked, 1))
    if #entries == 0 then
      break
    end
    for _, code in ipairs(entries) do
      looked = looked + 1
      if not seen[code] and redis.call('HGET', codes, code) == '' then
        seen[code] = true
        found[#found + 1] = code
        if #found == wanted then
          break
        end
      end
    end
  end
  redis.call('LTRIM', queue, looked, -1)
  if #found == wanted then
    return found
  end
  for _, code in ipairs(found) do
    redis.call('RPUSH', queue, code)
  end
  return nil
end

-- Rank, number, back, rest and code of what a token took; nothing where it is not known.
local function taken_by(field)
  local held = redis.call('HGET', mine, field) or ''
  return string.match(held, '^(%-?%d+) (%d+) (%d*) (%d+) (.*)$')
end

-- A key that is known for so many milliseconds at least.
local function keep(key, lasts)
  if redis.call('PTTL', key) < tonumber(lasts) then
    redis.call('PEXPIRE', key, lasts)
  end
end

local act = {}

-- 3 … codes. Adds those that are new as staged; returns the places, from 1, of all that are.
function act.stage()
  local found = {}
  for i = 3, #ARGV do
    local state = redis.call('HGET', codes, ARGV[i])
    if not state then
      redis.call('HSET', codes, ARGV[i], 's')
    end
    if not state or state == 's' then
      found[#found + 1] = i - 2
    end
  end
  return found
end

-- 3 … codes. Frees those that are staged; returns how many these are.
function act.open()
  local opened = 0
  for i = 3, #ARGV do
    if redis.call('HGET', codes, ARGV[i]) == 's' then
      redis.call('HSET', codes, ARGV[i], '')
      redis.call('RPUSH', queue, ARGV[i])
      opened = opened + 1
    end
  end
  count('free', opened)
  return opened
end

-- 3 … codes. Removes those that are staged.
function act.drop()
  for i = 3, #ARGV do
    if redis.call('HGET', codes, ARGV[i]) == 's' then
      redis.call('HDEL', codes, ARGV[i])
    end
  end
  return 1
end

-- 3 … codes. Returns the places, from 1, of those that the pool has.
function act.known()
  local found = {}
  for i = 3, #ARGV do
    if redis.call('HGET', codes, ARGV[i]) then
      found[#found + 1] = i - 2
    end
  end
  return found
end

-- 3 the token   4 how long it is remembered, milliseconds
-- 5 … of each code: the message; when it is free again, or ''; the same once it is given; rest
-- Returns the codes, those of before where the token has taken; nil where there are not enough.
function act.take()
  local token = ARGV[3]
  if redis.call('HGET', mine, token) then
    return false
  end
  free_what_is_due()
  local before = {}
  for i = 5, #ARGV, 4 do
    local _, _, _, _, code = taken_by(token .. '/' .. ARGV[i])
    before[#before + 1] = code
  end
  if #before > 0 then
    return before
  end
  local found = next_free((#ARGV - 4) / 4)
  if not found then
    return false
  end
  for place, code in ipairs(found) do
    local i = 4 * place + 1
    local number = (tonumber(redis.call('HGET', counts, 'taken') or '') or 0) + 1
    count('taken', 1)
    put(code, '', 'h' .. number, ARGV[i + 1])
    local held = table.concat({-1, number, ARGV[i + 2], ARGV[i + 3], code}, ' ')
    redis.call('HSET', mine, token .. '/' .. ARGV[i], held)
  end
  keep(mine, ARGV[4])
  return found
end

-- 3 the token   4 how long it is remembered that it takes nothing, milliseconds
-- What is known to be given stays.
function act.back()
  local token = ARGV[3]
  local fields = redis.call('HGETALL', mine)
  for i = 1, #fields, 2 do
    local _, number, _, _, code = taken_by(fields[i])
    if number and string.sub(fields[i], 1, #token + 1) == token .. '/'
      and redis.call('HGET', codes, code) == 'h' .. number then
      free(code, 'h')
      redis.call('HDEL', mine, fields[i])
    end
  end
  redis.call('HSET', mine, token, '')
  keep(mine, ARGV[4])
  return 1
end

-- 3 token/message   4 the rank. Returns 0 where nothing is known of it.
function act.settle()
  local field, rank = ARGV[3], tonumber(ARGV[4])
  local before, number, back, rest, code = taken_by(field)
  if not before then
    return 0
  end
  if rank <= tonumber(before) then
    return 1
  end
  redis.call('HSET', mine, field, table.concat({ARGV[4], number, back, rest, code}, ' '))
  local state = redis.call('HGET', codes, code)
  local own = state == 'h' .. number or state == 'g' .. number
  if rank % 2 == 1 and (own or state == '' and (back == '' or now < tonumber(back))) then
    put(code, state, 'g' .. number, back)
  elseif rank % 2 == 0 and own and now < tonumber(rest) then
    put(code, state, 'h' .. number, rest)
  elseif rank % 2 == 0 and own then
    free(code, state)
  end
  return 1
end

-- 3 the code. Returns 0 where the pool does not have it.
function act.redeem()
  local state = redis.call('HGET', codes, ARGV[3])
  if not state then
    return 0
  end
  put(ARGV[3], state, 'r', '')
  return 1
end

-- 3 … token/message. Returns how many codes were known by them.
function act.forget()
  local gone = 0
  for i = 3, #ARGV do
    local _, number, back, _, code = taken_by(ARGV[i])
    if number then
      gone = gone + 1
      if redis.call('HGET', codes, code) == 'h' .. number then
        put(code, 'h', 'g' .. number, back)
      end
    end
    redis.call('HDEL', mine, ARGV[i])
  end
  return gone
end

-- Frees what is due. Returns how many codes are loaded, free, given, redeemed, and came back.
function act.count()
  free_what_is_due()
  local found = {redis.call('HLEN', codes)}
  for place, name in ipairs({'free', 'given', 'redeemed', 'back'}) do
    found[place + 1] = tonumber(redis.call('HGET', counts, name) or '') or 0
  end
  return found
end

local reply = act[ARGV[1]]()
if ARGV[1] ~= 'known' and redis.call('EXISTS', counts) == 1 then
  local first = redis.call('ZRANGE', ends, 0, 0, 'WITHSCORES')[2] or ''
  redis.call('SET', left, (redis.call('HGET', counts, 'free') or 0) .. ' ' .. first)
end
return reply
