-- Takes 1 of each of several budgets, or nothing.
--
-- KEYS  1 what the token took (hash)   2 ends of reservations (zset)   3 the first of them
--       4 … counters, one per budget
-- ARGV  1 how long the token is remembered, milliseconds   2 the token
--       then name and limit of each budget, in the order of the counters, and when the unit comes
--       back by itself unless it is confirmed, microseconds, '' for never
-- Returns nil where all are taken, now or before with this token, or already given back;
--      else the name of the first budget that is at its limit: nothing is taken
--
-- The hash has the rank of each unit (see settle_budgets.lua), -1 at first.

if redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
for i = 4, #KEYS do
  -- A damaged counter counts as spent, and so does a key of another type.
  local held = redis.pcall('GET', KEYS[i]) or '0'
  if type(held) == 'table' then
    if not string.find(held.err, 'WRONGTYPE', 1, true) then
      return held
    end
    held = ''
  end
  local spent = #held < 16 and string.match(held, '^%-?%d+$')
  if not spent or tonumber(spent) >= tonumber(ARGV[3 * i - 8]) then
    return ARGV[3 * i - 9]
  end
end
redis.call('HSET', KEYS[1], '', 0)
for i = 4, #KEYS do
  local name, ends = ARGV[3 * i - 9], ARGV[3 * i - 7]
  redis.call('INCR', KEYS[i])
  if string.find(name, ':%d%d%d%d%-%d%d%-%d%d$') then
    -- A day's counter: that day is over everywhere within two days, whatever the time zone.
    redis.call('PEXPIRE', KEYS[i], 259200000)
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
