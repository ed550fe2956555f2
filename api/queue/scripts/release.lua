-- Puts a task back as if it had never been taken.
---@include holder
---@return string            'held', 'lost', 'cancelled' or 'expired'

local standing = find_standing()
if standing ~= 'held' then return standing end
local priority = call('HGET', job_key(job), 'priority')
drop_entry(priority, entry)
call('HINCRBY', tasks_key(job), 'a:' .. task, -1)
set_progress(job, task, 0)
add_entry(job, task, priority)
if call('HGET', job_key(job), 'n_tasks') == '1' then set_state(job, 'queued') end
ring()
return 'held'
