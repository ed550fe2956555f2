-- Begins a whole lease anew, if the task is still this worker's. Counts no delivery.
---@include holder
---@param worker string
---@return string            'held', 'lost', 'cancelled' or 'expired'

local standing = find_standing()
if standing ~= 'held' then return standing end
local stream = queue_key(call('HGET', job_key(job), 'priority'))
local pending = call('XPENDING', stream, GROUP, entry, entry, 1)
if #pending == 0 or pending[1][2] ~= worker then return 'lost' end
call('XCLAIM', stream, GROUP, worker, 0, entry, 'JUSTID')
return 'held'
