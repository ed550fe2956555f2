-- Publishes the result of a task, once; the last task ends the job.
---@include holder
---@param result string
---@param seconds string     of proving
---@param samples string     that the result is about
---@param steps number       of a training that the result proves: 1, or 0
---@param n_steps number     that the job proves
---@param owner_bytes number of results that the owner may have
---@return string            'stored', also when it is sent again; 'full': the owner has too many;
---                          'lost', 'cancelled' or 'expired'

local mark = entry .. '/' .. attempt
if call('HGET', results_key(job), 'w:' .. task) == mark then return 'stored' end
local standing = find_standing()
if standing ~= 'held' then
  count('fenced')
  return standing
end
if wait_for_room(call('HGET', job_key(job), 'owner'), owner_bytes - #result) then return 'full' end
add_result(job, #result)
call('HSET', results_key(job), task, result, 'w:' .. task, mark)
drop_entry(call('HGET', job_key(job), 'priority'), entry)
call('HDEL', tasks_key(job), 'e:' .. task)
call('HINCRBYFLOAT', job_key(job), 'seconds', seconds)
set_progress(job, task, 1)
count('proofs')
count('samples', samples)
if steps > 0 then
  local n_proven = call('HINCRBY', job_key(job), 'n_steps_done', steps)
  count('steps', steps)
  emit(job, 'progress', {stage = 'steps', done = n_proven, total = n_steps,
                         fraction = find_share(job), shard = tonumber(task)})
end
local n_done = call('HINCRBY', job_key(job), 'n_done', 1)
if n_done == tonumber(call('HGET', job_key(job), 'n_tasks')) then finish(job, 'done') end
return 'stored'
