-- Lets the tasks of a job agree on a folder of private files: the first that one offers.
---@include holder
---@param private string     name of the folder offered; '' only asks
---@return table             {'held', the folder's name, '' when there is none yet}, or
---                          {'lost', 'cancelled' or 'expired', ''}

local standing = find_standing()
if standing ~= 'held' then return {standing, ''} end
return {'held', take_over(job, private)}
