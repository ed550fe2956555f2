-- Starts the job of a dead letter anew, all of its tasks, and removes the letter.
---@include clock
---@param letter string      id of the letter
---@return string            'replayed', 'not_found', 'gone', 'not_failed' or 'files_gone', see
---                          `QueueAdmin.replay`

-- Kinds of jobs that came with their private files.
local CAME_WITH_FILES = {groth16 = true, training = true}

tick()
local found = call('XRANGE', prefix .. 'dead', letter, letter)
if #found == 0 then return 'not_found' end
local job = found[1][2][2]
local state = call('HGET', job_key(job), 'state')
if state ~= 'failed' then
  call('XDEL', prefix .. 'dead', letter)
  return state and 'not_failed' or 'gone'
end
local kind = cjson.decode(call('HGET', job_key(job), 'spec')).kind
if CAME_WITH_FILES[kind] then return 'files_gone' end
call('XDEL', prefix .. 'dead', letter)
for _, key in ipairs({tasks_key(job), results_key(job), events_key(job)}) do
  call('DEL', key)
end
forget(job)
call('HDEL', job_key(job), 'finished_ms', 'error_code', 'error_message', 'fractions', 'deadline_ms')
call('HSET', job_key(job), 'n_done', 0)
call('PERSIST', job_key(job))
start(job, tonumber(call('HGET', job_key(job), 'n_tasks')), call('HGET', job_key(job), 'priority'))
return 'replayed'
