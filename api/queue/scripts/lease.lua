-- Gives a worker a task: the most urgent first, those of lost workers before new ones. A task that
-- has had all its attempts becomes a dead letter on the way.
---@include clock
---@param worker string      unique to its process
---@param lease_ms string    after which a task that is not renewed is another worker's
---@param max_deliveries number
---@param beside string      '1': the worker has another task in hand, which one that others died
---                          over would take with it; those are left to others
---@return table             {job, task, entry, attempt, spec}; nothing when no task waits

local failed = tick()
if failed then return failed end

local function find_abandoned(stream)
  local cursor = '0-0'
  repeat
    local found = call('XAUTOCLAIM', stream, GROUP, worker, lease_ms, cursor, 'COUNT', 1)
    if #found[2] > 0 then return found[2][1] end
    cursor = found[1]
  until cursor == '0-0'
end

local function read(stream, from)
  local found = call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', stream, from)
  return found and found[1] and found[1][2][1]
end

-- First what this worker was given in an answer that it never saw, then what others left behind.
local function take(stream)
  local found = read(stream, '0')
  if found then return found, true end
  found = beside ~= '1' and find_abandoned(stream)
  if found then return found, true end
  return read(stream, '>'), false
end

for _, priority in ipairs(PRIORITIES) do
  for _ = 1, MAX_BATCH do
    local found, again = take(queue_key(priority))
    if not found then break end
    local id, values = found[1], {}
    for i = 1, #(found[2] or {}), 2 do values[found[2][i]] = found[2][i + 1] end
    local job, task = values.job or '', values.task or ''
    if not is_open(call('HGET', job_key(job), 'state'))
       or call('HGET', tasks_key(job), 'e:' .. task) ~= id then
      drop_entry(priority, id)
    else
      if again then count('reclaims') end
      local attempts = tonumber(call('HGET', tasks_key(job), 'a:' .. task) or '0')
      if attempts >= max_deliveries then
        bury(job, task, attempts, 'worker_lost', 'the workers that took it did not come back')
      else
        call('HINCRBY', tasks_key(job), 'a:' .. task, 1)
        call('HINCRBY', job_key(job), 'attempts', 1)
        set_progress(job, task, 0)
        set_state(job, 'running')
        return {job, task, id, tostring(attempts + 1), call('HGET', job_key(job), 'spec')}
      end
    end
  end
end
return false
