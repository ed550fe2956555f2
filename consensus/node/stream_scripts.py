"""What a transport does inside the server, each script in one step, in Lua.

A script asks lengths before bytes leave the server, and deletes only what it sees to be unusable
itself: between two commands of a client another client may have mended the key already.
"""

ADD = """
-- KEYS[1] stream; ARGV[1] message, [2] entries to keep, about. Answers the entry's id.
local function add()
  return redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'm', ARGV[1])
end
local function is_unusable(text)
  return string.find(text, 'WRONGTYPE', 1, true) == 1
    or string.find(text, 'exhausted the last possible ID', 1, true)
    or string.find(text, 'equal or smaller than the target stream top item', 1, true)
end
local answer = add()
if type(answer) == 'table' and answer.err and is_unusable(answer.err) then
  redis.call('UNLINK', KEYS[1])
  answer = add()
end
return answer
"""

FETCH = """
-- KEYS streams; ARGV[i] the last entry read of KEYS[i]; then the most entries, the most bytes of a
-- message, and the most bytes of a stream's answer, which is no less.
-- Answers for each: id of the last entry looked at, how many were passed over, and the messages.
local n = #KEYS
local n_most, longest = tonumber(ARGV[n + 1]), tonumber(ARGV[n + 2])
local room_most = tonumber(ARGV[n + 3])

local LAST = '18446744073709551615-18446744073709551615'

local function find_message(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'm' then return fields[i + 1] end
  end
end

local function read(key, at)
  local room, dropped, found = room_most, 0, {}
  for _ = 1, n_most do
    if at == LAST then break end
    local entry = redis.call('XRANGE', key, '(' .. at, '+', 'COUNT', 1)[1]
    if not entry then break end
    local message = find_message(entry[2])
    if not message or #message > longest then
      dropped = dropped + 1
    elseif #message > room then
      break
    else
      found[#found + 1], room = message, room - #message
    end
    at = entry[1]
  end
  return {at, dropped, found}
end

local answers = {}
for i, key in ipairs(KEYS) do answers[i] = read(key, ARGV[i]) end
return answers
"""

FIND_END = """
-- KEYS[1] stream. Answers the id of its last entry; 0-0 when there is none. A key of another type
-- is deleted.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'stream' then
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  return last and last[1] or '0-0'
end
if kind ~= 'none' then redis.call('UNLINK', KEYS[1]) end
return '0-0'
"""
