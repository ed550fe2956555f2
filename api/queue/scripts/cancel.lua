-- Ends a job unless it has ended.
---@include clock
---@param job string
---@return number            1

tick()
if is_open(call('HGET', job_key(job), 'state')) then finish(job, 'cancelled') end
return 1
