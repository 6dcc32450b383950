-- Writes a draft, if its record is still the one that was read; and, in the same step, an entry of
-- a history, if its last entry is still the one that was read.
--
-- KEYS  1 the records of all drafts (hash)   2 the texts of this one (hash)
--       3 the history (list), where there is an entry for it
-- ARGV  1 draft id
--       2 record as read, '' for none   3 what it becomes, '' to remove the draft with its texts
--       4 last entry as read, '' for none   5 entry, '' for none   6 how many entries stay
--       7 how many texts are removed, then their names; then name, text of each that is added
-- Returns 1 where it was written, 0 where one of the two has changed meanwhile.

if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then
  return 0
end
if ARGV[5] ~= '' then
  if (redis.call('LRANGE', KEYS[3], -1, -1)[1] or '') ~= ARGV[4] then
    return 0
  end
  redis.call('RPUSH', KEYS[3], ARGV[5])
  redis.call('LTRIM', KEYS[3], -ARGV[6], -1)
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('DEL', KEYS[2])
  return 1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
local added = 8 + ARGV[7]
for n = 8, added - 1 do
  redis.call('HDEL', KEYS[2], ARGV[n])
end
for n = added, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[n], ARGV[n + 1])
end
return 1
