-- Removes an alias where it leads to that customer.
--
-- KEYS  1 alias
-- ARGV  1 customer id

if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
