-- Appends a message to a stream. A key that cannot be appended to (of another type, its ids used
-- up) is deleted first; no other error of the server is a reason to.
---@key stream string
---@param message string
---@param n_kept string      entries to keep, about
---@return string            id of the new entry

local function add()
  return redis.pcall('XADD', stream, 'MAXLEN', '~', n_kept, '*', 'm', message)
end

local function is_unusable(text)
  return string.find(text, 'WRONGTYPE', 1, true) == 1
    or string.find(text, 'exhausted the last possible ID', 1, true)
    or string.find(text, 'equal or smaller than the target stream top item', 1, true)
end

-- It is deleted here and not by the client, who would do so between two commands: another client
-- may have mended the key already.
local answer = add()
if type(answer) == 'table' and answer.err and is_unusable(answer.err) then
  redis.call('UNLINK', stream)
  answer = add()
end
return answer
