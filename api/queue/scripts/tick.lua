-- Does what is due.
---@include clock
---@return number            1, or the error of a server that takes no writes

local failed = tick()
return failed or 1
