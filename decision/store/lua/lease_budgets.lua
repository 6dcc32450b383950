-- Leases units of budgets to a process, and takes back what it has left of before.
--
-- KEYS  1 leases (zset)   2 what this one was given (hash)   3 … counters
-- ARGV  1 the lease   2 how long it lasts from now, milliseconds   3 "1" for a new one, else ""
--       then for each counter: its name, what is left of it in the process (below zero where it owes),
--       the least and the most that the process wants now, and the limit
-- Returns nil where the lease is over; else a list: how many leases there are, a list of those that
--      are over and not settled yet, then for each counter how much of it is taken (with what is
--      leased; false where that cannot be known) and how much is given to the process now
--
-- What is left comes back first, then a portion is given: at most half of what an equal share of the
-- rest would be, so that portions shrink as the rest does; never less than the least, or nothing.
-- A lease with the score 0 is being settled. Numbers are below 2^53, up to which Lua's are exact.

-- Days for which a counter of a period is kept after it was leased from last: the period is over
-- everywhere by then, whatever the time zone.
local KEPT = {day = 3, week = 10, month = 34}
local AT_A_TIME = 4 -- leases over that are named

-- How much is taken, and whether the counter is there. A damaged one counts as spent, and so does a
-- key of another type.
local function taken_of(key)
  local held = redis.pcall('GET', key)
  if type(held) == 'table' then
    if not string.find(held.err, 'WRONGTYPE', 1, true) then
      error(held)
    end
    return nil, true
  end
  if not held then
    return 0, false
  end
  return #held < 17 and tonumber(string.match(held, '^%-?%d+$')), true
end

local leases, given_to, lease = KEYS[1], KEYS[2], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] == '' and (redis.call('ZMSCORE', leases, lease)[1] or '0') == '0' then
  return false
end
redis.call('ZADD', leases, string.format('%.0f', now + ARGV[2]), lease)
local processes = #redis.call('ZRANGEBYSCORE', leases, string.format('%.0f', now), '+inf')
local over = string.format('(%.0f', now)
local found = {processes, redis.call('ZRANGEBYSCORE', leases, '-inf', over, 'LIMIT', 0, AT_A_TIME)}
for i = 3, #KEYS do
  local at = 5 * i - 11
  local name, left, least, most = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local taken, there = taken_of(KEYS[i])
  local given = 0
  if taken then
    local change = there and -left or 0
    local rest = tonumber(ARGV[at + 4]) - taken - change
    if least > 0 and least <= rest then
      given = math.max(least, math.min(most, math.floor(rest / (2 * processes))))
    end
    change = change + given
    if change ~= 0 then
      taken = redis.call('INCRBY', KEYS[i], change)
      local period, shared = string.match(name, '([^/]*):%d%d%d%d%-%d%d%-%d%d$'), string.find(name, '/', 1, true)
      if period then
        redis.call('PEXPIRE', KEYS[i], (shared and KEPT[period] or KEPT.day) * 86400000)
      end
    end
    if given ~= left then
      redis.call('HINCRBY', given_to, name, given - left)
    end
  end
  found[#found + 1] = taken or false
  found[#found + 1] = given
end
return found
