-- Looks for a record in a part of the log.
--
-- KEYS  1 log
-- ARGV  1 kind   2 id   3, 4 first and last entry id of the part   5 how many entries to look at
-- Returns {body or nil, the entry id to go on after, "" at the end of the part}

local entries = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[4], 'COUNT', ARGV[5])
for _, entry in ipairs(entries) do
  if entry[2][4] == ARGV[2] and entry[2][2] == ARGV[1] then
    return {entry[2][6], ''}
  end
end
if #entries < tonumber(ARGV[5]) then
  return {false, ''}
end
return {false, entries[#entries][1]}
