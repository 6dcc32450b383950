-- Gives back what a token took of several budgets: 1 of each, once.
--
-- KEYS  1 what the token took (set)   2 … counters, one per budget
-- ARGV  1 how long the token is remembered, milliseconds   2 … names of the budgets
--
-- The empty name marks a token as used: a take that arrives after its return changes nothing.

for i = 2, #KEYS do
  if redis.call('SREM', KEYS[1], ARGV[i]) == 1 then
    redis.call('DECR', KEYS[i])
  end
end
redis.call('SADD', KEYS[1], '')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
