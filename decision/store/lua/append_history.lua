-- Adds an entry to a named history and keeps only its last entries, in one step.
--
-- KEYS  1 the history (list)
-- ARGV  1 the entry   2 how many entries stay   3 what has to be its last entry, '' for any
-- Returns 1 where it was added, 0 where another entry is the last one.

if ARGV[3] ~= '' and redis.call('LRANGE', KEYS[1], -1, -1)[1] ~= ARGV[3] then
  return 0
end
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -ARGV[2], -1)
return 1
