-- Points an alias to a customer where it leads nowhere yet.
--
-- KEYS  1 alias
-- ARGV  1 customer id
-- Returns the customer id that the alias leads to

local owner = redis.call('GET', KEYS[1])
if owner then
  return owner
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
