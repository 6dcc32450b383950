-- Adds an entry to a named history and keeps only its last entries, in one step.
--
-- KEYS  1 the history (list)
-- ARGV  1 the entry   2 how many entries stay

redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -ARGV[2], -1)
return 1
