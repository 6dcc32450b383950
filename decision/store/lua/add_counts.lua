-- Adds counts to those of a name.
--
-- KEYS  1 hash: field → count
-- ARGV  1 the most fields of it   2 how long it is kept from now on, milliseconds
--       3.. field, what is added to it   (a field begins with its kind, one character)
-- Once there are the most, what would be another field is added to the field of its kind.

local fields = redis.call('HLEN', KEYS[1])
for i = 3, #ARGV, 2 do
  local field = ARGV[i]
  if not redis.call('HGET', KEYS[1], field) then
    if fields < tonumber(ARGV[1]) then
      fields = fields + 1
    else
      field = string.sub(field, 1, 1)
    end
  end
  redis.call('HINCRBY', KEYS[1], field, ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
