-- Gives back what was taken for reservations of one partition that have ended, each once.
--
-- KEYS  1 leases (hash, see commit.lua)   2 ends of reservations (zset)
--       3 … what the token of each unit took (hash)
-- ARGV  1 the present, microseconds   2 the lease that gets the units   3 … the members of 2
-- Returns a list: when the next one ends, '' for none, then counter, change of what is taken of it,
--      next counter …; nil where the lease is over: then nothing is done

if not redis.call('HGET', KEYS[1], ARGV[2]) then
  return false
end
local found = {''}
for i = 3, #ARGV do
  local ends = redis.call('ZMSCORE', KEYS[2], ARGV[i])[1]
  if ends and tonumber(ends) <= tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[2], ARGV[i])
    local name = string.match(ARGV[i], '^[^:]*:(.*)$')
    local counter, amount = string.match(name or '', '^(.*)/[^/]*/(%d+)$')
    if name then
      found[#found + 1] = counter or name
      found[#found + 1] = -(amount or 1)
      redis.call('HINCRBY', KEYS[1], ARGV[2] .. '/' .. (counter or name), -(amount or 1))
      if redis.call('TYPE', KEYS[i]).ok == 'hash' then
        redis.call('HSET', KEYS[i], name, -2)
      end
    end
  end
end
found[1] = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2] or ''
return found
