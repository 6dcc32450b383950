-- Takes several units of budgets, or none.
--
-- KEYS  1 what the token took (hash)   2 ends of reservations (zset)   3 the first of them
--       4 … counters, one per unit; several units may be of one counter
-- ARGV  1 how long the token is remembered, milliseconds   2 the token
--       then name of each unit, limit of its counter, in the order of the counters, and when the
--       unit comes back by itself unless it is confirmed, microseconds, '' for never
-- Returns nil where all are taken, now or before with this token, or already given back;
--      else the name of the first unit for which there is no room: nothing is taken
--
-- A unit's name ends in /message/amount, in the unit of its counter; without, it is a counter's own
-- name and takes 1. The hash has the rank of each unit (see settle_budgets.lua), -1 at first.
-- Numbers are below 2^53, up to which Lua's are exact.

-- Days for which a counter of a period is kept after it was taken from last: the period is over
-- everywhere by then, whatever the time zone.
local KEPT = {day = 3, week = 10, month = 34}

if redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
local taken = {}
for i = 4, #KEYS do
  local counter, name = KEYS[i], ARGV[3 * i - 9]
  if not taken[counter] then
    -- A damaged counter counts as spent, and so does a key of another type.
    local held = redis.pcall('GET', counter) or '0'
    if type(held) == 'table' then
      if not string.find(held.err, 'WRONGTYPE', 1, true) then
        return held
      end
      held = ''
    end
    local spent = #held < 17 and string.match(held, '^%-?%d+$')
    if not spent then
      return name
    end
    taken[counter] = tonumber(spent)
  end
  taken[counter] = taken[counter] + tonumber(string.match(name, '/(%d+)$') or 1)
  if taken[counter] > tonumber(ARGV[3 * i - 8]) then
    return name
  end
end
redis.call('HSET', KEYS[1], '', 0)
for i = 4, #KEYS do
  local name, ends = ARGV[3 * i - 9], ARGV[3 * i - 7]
  local counter, amount = string.match(name, '^(.*)/[^/]*/(%d+)$')
  redis.call('INCRBY', KEYS[i], amount or 1)
  local period = string.match(counter or name, '([^/]*):%d%d%d%d%-%d%d%-%d%d$')
  if period then
    redis.call('PEXPIRE', KEYS[i], (counter and KEPT[period] or KEPT.day) * 86400000)
  end
  redis.call('HSET', KEYS[1], name, -1)
  if ends ~= '' then
    redis.call('ZADD', KEYS[2], ends, ARGV[2] .. ':' .. name)
    local first = redis.call('GET', KEYS[3])
    if tonumber(ends) < (tonumber(first or '') or math.huge) then
      redis.call('SET', KEYS[3], ends)
    end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return false
