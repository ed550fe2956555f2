-- Reads streams on from where a reader is. Lengths are looked at before bytes leave the server:
-- anyone may have put anything there.
---@key streams string[]
---@param n_most number      entries of one stream
---@param longest number     bytes of a message; a longer one is passed over
---@param room_most number   bytes of one stream's messages, no less than `longest`
---@param at string[]        id of the last entry read, of each stream
---@return table             of each stream: id of the last entry looked at, how many were passed
---                          over, and the messages

local LAST = '18446744073709551615-18446744073709551615'

local function find_message(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'm' then return fields[i + 1] end
  end
end

local function read(stream, last)
  local room, dropped, found = room_most, 0, {}
  for _ = 1, n_most do
    if last == LAST then break end
    local entry = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
    if not entry then break end
    local message = find_message(entry[2])
    if not message or #message > longest then
      dropped = dropped + 1
    elseif #message > room then
      break
    else
      found[#found + 1], room = message, room - #message
    end
    last = entry[1]
  end
  return {last, dropped, found}
end

local answers = {}
for i, stream in ipairs(streams) do answers[i] = read(stream, at[i]) end
return answers
