-- A worker that says it holds a task: what it names, and whether that is so.
---@include jobs
---@param job string
---@param task string        index of the task in its job
---@param entry string       of the task's stream; it and `attempt` are what the worker holds
---@param attempt string     counted up by each delivery

-- 'held', or why the caller no longer holds its task: 'lost', 'cancelled', 'expired'.
local function find_standing()
  local state = call('HGET', job_key(job), 'state')
  if state == 'cancelled' or state == 'expired' then return state end
  if not is_open(state) then return 'lost' end
  local now = call('HMGET', tasks_key(job), 'e:' .. task, 'a:' .. task)
  if now[1] ~= entry or now[2] ~= attempt then return 'lost' end
  local deadline = call('HGET', job_key(job), 'deadline_ms')
  if deadline and tonumber(deadline) <= NOW then
    expire(job)
    return 'expired'
  end
  return 'held'
end
