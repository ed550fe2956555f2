-- Takes a job in, unless it is there or there is no room for it. A job that failed, was cancelled
-- or expired starts anew.
---@include clock
---@param job string         id, by the request and its owner
---@param spec string        the request, see `JobSpec.encode`
---@param owner string       hash of the owner's name
---@param priority string
---@param n_tasks number
---@param deadline_s number  from now; 0: none
---@param ttl_s string       of the job after its end
---@param idem string        <owner>:<hash of the idempotency key>; '': none was sent
---@param idem_ttl_s string
---@param tasks_limit number of all owners
---@param owner_tasks number of this one; as the next two
---@param owner_bytes number of results
---@param owner_keys number  idempotency keys
---@param private string     name of the folder that a new job takes over; '': none
---@return table             {'created', ''}, {'existing', ''}, {'conflict', ''}: the key was sent
---                          with another request, {'full', tasks there}, {what the owner has too
---                          much of: 'tasks', 'bytes' or 'keys', seconds until some may be free}

tick()

-- The job of whoever asks again because the answer was lost is new to him.
local function found_there()
  local is_his = private ~= '' and call('GET', private_key(job)) == private
  return {is_his and 'created' or 'existing', ''}
end

local function remember()
  if idem ~= '' then
    call('SET', prefix .. 'idem:' .. idem, job, 'EX', idem_ttl_s)
    count_key(owner, idem, idem_ttl_s)
  end
end

if idem ~= '' then
  local first = call('GET', prefix .. 'idem:' .. idem)
  if first and first ~= job then return {'conflict', ''} end
  if first and call('EXISTS', job_key(first)) == 1 then return found_there() end
  local wait_s = not first and wait_for_key(owner, owner_keys)
  if wait_s then return {'keys', wait_s} end
end
local state = call('HGET', job_key(job), 'state')
if is_open(state) or state == 'done' then
  remember()
  return found_there()
end

local load = call('ZCARD', prefix .. 'retry')
for _, p in ipairs(PRIORITIES) do load = load + call('XLEN', queue_key(p)) end
if load + n_tasks > tasks_limit then return {'full', tostring(load)} end
if tally(owner, 'tasks') + n_tasks > owner_tasks then return {'tasks', '0'} end
local wait_s = wait_for_room(owner, owner_bytes)
if wait_s then return {'bytes', wait_s} end

forget(job)
for _, key in ipairs({job_key(job), tasks_key(job), results_key(job), events_key(job)}) do
  call('DEL', key)
end
call('HSET', job_key(job), 'spec', spec, 'owner', owner, 'priority', priority,
     'created_ms', whole(NOW), 'n_tasks', n_tasks, 'n_done', 0, 'attempts', 0, 'ttl_s', ttl_s)
if deadline_s > 0 then
  local deadline = whole(NOW + 1000 * deadline_s)
  call('HSET', job_key(job), 'deadline_ms', deadline)
  call('ZADD', prefix .. 'deadlines', deadline, job)
end
-- Each new job makes room of several whose time to live is over: the lists do not grow for ever.
for _, index in ipairs({prefix .. 'jobs', prefix .. 'jobs:' .. owner}) do
  for _, old in ipairs(call('ZRANGE', index, 0, 3)) do
    if call('EXISTS', job_key(old)) == 0 then call('ZREM', index, old) end
  end
  call('ZADD', index, whole(NOW), job)
end
remember()
take_over(job, private)
start(job, n_tasks, priority)
count('submitted')
return {'created', ''}
