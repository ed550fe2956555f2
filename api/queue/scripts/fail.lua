-- Ends the job of a task that failed, or puts the task back after a pause.
---@include holder
---@param code string
---@param message string     without private values
---@param delay_ms number    until the next attempt; negative: there is none
---@param max_deliveries number
---@return string            'held', 'lost', 'cancelled' or 'expired'

local standing = find_standing()
if standing ~= 'held' then return standing end
if delay_ms < 0 then
  finish(job, 'failed', code, message)
elseif tonumber(attempt) >= max_deliveries then
  bury(job, task, attempt, code, message)
else
  drop_entry(call('HGET', job_key(job), 'priority'), entry)
  call('HDEL', tasks_key(job), 'e:' .. task)
  call('ZADD', prefix .. 'retry', whole(NOW + delay_ms), job .. ':' .. task)
  set_progress(job, task, 0)
  if call('HGET', job_key(job), 'n_tasks') == '1' then set_state(job, 'retrying') end
  count('retries')
end
return 'held'
