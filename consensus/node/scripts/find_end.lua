-- Finds the end of a stream. A key of another type is deleted, in the step that sees it.
---@key stream string
---@return string            id of the last entry; 0-0 when there is none

local kind = redis.call('TYPE', stream).ok
if kind == 'stream' then
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  return last and last[1] or '0-0'
end
if kind ~= 'none' then redis.call('UNLINK', stream) end
return '0-0'
