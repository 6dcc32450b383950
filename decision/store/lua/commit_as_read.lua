-- Writes a customer's document and one log record, where the document is still as it was read: the
-- commit of most decisions. What asks for more, or finds another document, is for `commit.lua`.
--
-- KEYS  1 document   2 log
-- ARGV  1 the time after which nothing is written, milliseconds of this server's clock
--       2 the header of the document as it was read, "" for none   3 the whole document to write
--       4, 5, 6 kind, id and body of the log record
-- Returns the id of the log entry; with nothing written, 0 where the document is another one, or
--       this server's time, in milliseconds, where it came too late
--
-- In the header is the digest of the last commit, so no two documents of a customer have the same.
-- Here every step counts: GET, not GETRANGE, whose numbers are printed as floating point and for
-- which users of Redis would need one more right.

local HEADER_SIZE = 33

local call, sub, key, given = redis.call, string.sub, KEYS[1], ARGV
local time = call('TIME')
local now = time[1] * 1000 + time[2] / 1000
if now > given[1] + 0 then
  return now
end
if sub(call('GET', key) or '', 1, HEADER_SIZE) ~= given[2] then
  return 0
end
local document = given[3]
local entry = call(
  'XADD', KEYS[2], '*', 'k', given[4], 'id', given[5], 'b', given[6], 'c', sub(document, 2, 9))
call('SET', key, document)
return entry
