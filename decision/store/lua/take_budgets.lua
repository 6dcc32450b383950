-- Takes 1 of each of several budgets, or nothing.
--
-- KEYS  1 what the token took (set)   2 … counters, one per budget
-- ARGV  1 how long the token is remembered, milliseconds
--       then name and limit of each budget, in the order of the counters
-- Returns nil where all are taken, now or before with this token, or already given back;
--      else the name of the first budget that is at its limit: nothing is taken

if redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
for i = 2, #KEYS do
  local spent = tonumber(redis.call('GET', KEYS[i]) or 0)
  if spent >= tonumber(ARGV[2 * i - 1]) then
    return ARGV[2 * i - 2]
  end
end
redis.call('SADD', KEYS[1], '')
for i = 2, #KEYS do
  redis.call('INCR', KEYS[i])
  if string.find(ARGV[2 * i - 2], ':%d%d%d%d%-%d%d%-%d%d$') then
    -- A day's counter: that day is over everywhere within two days, whatever the time zone.
    redis.call('PEXPIRE', KEYS[i], 259200000)
  end
  redis.call('SADD', KEYS[1], ARGV[2 * i - 2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return false
