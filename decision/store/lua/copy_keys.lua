-- Reads keys that belong together, as they are at one moment.
--
-- KEYS  1 … the keys
-- ARGV  1 "1" to read nothing where the first of them exists, else "0"
--       2 how many elements one may have, to be read here: Redis does nothing else meanwhile
-- Returns {the time, ms; for each key false where there is none, else {type, when it ends, ms, or 0,
--       what is in it}}; with the number of elements in place of them where they are too many or it
--       is a stream; nothing where the first key exists and that is not wanted.

local SIZES = {list = 'LLEN', hash = 'HLEN', zset = 'ZCARD', stream = 'XLEN'}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[1] == '1' and redis.call('EXISTS', KEYS[1]) == 1 then
  return {}
end

local function content(key, kind)
  if kind == 'string' then
    return redis.call('GET', key)
  end
  local size = redis.call(SIZES[kind], key)
  if kind == 'stream' or size > tonumber(ARGV[2]) then
    return size
  elseif kind == 'list' then
    return redis.call('LRANGE', key, 0, -1)
  elseif kind == 'hash' then
    return redis.call('HGETALL', key)
  end
  return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
end

local found = {string.format('%.0f', now)}
for place, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    found[place + 1] = false
  elseif kind ~= 'string' and not SIZES[kind] then
    return redis.error_reply('ERR nextbest writes no ' .. kind .. ', which a key here is')
  else
    local left = redis.call('PTTL', key)
    local ends = left > 0 and string.format('%.0f', now + left) or '0'
    found[place + 1] = {kind, ends, content(key, kind)}
  end
end
return found
