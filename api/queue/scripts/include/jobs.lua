-- How a job starts, how its tasks come and go, and how it ends.
---@include accounts
---@include private

local MAX_EVENTS, MAX_DEAD = 1000, 10000
local LATE = 'the deadline passed before the proof was made'

local function ring() call('XADD', prefix .. 'bell', 'MAXLEN', '1', '*', 'n', '1') end

local function emit(job, kind, data)
  call('XADD', events_key(job), 'MAXLEN', MAX_EVENTS, '*', 'type', kind,
       'data', cjson.encode(data))
end

local function set_state(job, new)
  local old = call('HGET', job_key(job), 'state')
  if old == new then return end
  if is_open(old) then call('HINCRBY', prefix .. 'states', old, -1) end
  call('HINCRBY', prefix .. 'states', new, 1)
  call('HSET', job_key(job), 'state', new)
  if is_open(new) then emit(job, 'state', {state = new}) end
end

local function add_entry(job, task, priority)
  local id = call('XADD', queue_key(priority), '*', 'job', job, 'task', task)
  call('HSET', tasks_key(job), 'e:' .. task, id)
end

local function drop_entry(priority, id)
  call('XACK', queue_key(priority), GROUP, id)
  call('XDEL', queue_key(priority), id)
end

local function drop_tasks(job)
  local priority = call('HGET', job_key(job), 'priority')
  local tasks = call('HGETALL', tasks_key(job))
  for i = 1, #tasks, 2 do
    if string.sub(tasks[i], 1, 2) == 'e:' then drop_entry(priority, tasks[i + 1]) end
  end
  for task = 0, call('HGET', job_key(job), 'n_tasks') - 1 do
    call('ZREM', prefix .. 'retry', job .. ':' .. task)
  end
  call('DEL', tasks_key(job))
end

-- Of a task, in [0, 1]; the job's is the sum over its tasks.
local function set_progress(job, task, fraction)
  local before = call('HGET', tasks_key(job), 'p:' .. task) or '0'
  call('HSET', tasks_key(job), 'p:' .. task, fraction)
  call('HINCRBYFLOAT', job_key(job), 'fractions', string.format('%.6f', fraction - before))
end

-- How much of a job is done, in [0, 1].
local function find_share(job)
  local sum, n_tasks = unpack(call('HMGET', job_key(job), 'fractions', 'n_tasks'))
  return math.max(0, math.min(1, sum / n_tasks))
end

local function start(job, n_tasks, priority)
  for task = 0, n_tasks - 1 do add_entry(job, task, priority) end
  set_state(job, 'queued')
  open_account(job)
  ring()
end

-- The one way in which a job ends.
local function finish(job, state, code, message)
  set_state(job, state)
  call('HSET', job_key(job), 'finished_ms', whole(NOW))
  if code then call('HSET', job_key(job), 'error_code', code, 'error_message', message) end
  call('ZREM', prefix .. 'deadlines', job)
  drop_tasks(job)
  give_up(job)
  if state ~= 'done' then call('DEL', results_key(job)) end
  emit(job, 'end', {state = state})
  close_account(job, state)
  local ttl = call('HGET', job_key(job), 'ttl_s')
  for _, key in ipairs({job_key(job), results_key(job), events_key(job)}) do
    call('EXPIRE', key, ttl)
  end
  count('ended_' .. state)
end

local function expire(job) finish(job, 'expired', 'expired', LATE) end

-- A task without attempts left becomes a dead letter.
local function bury(job, task, attempts, code, message)
  call('XADD', prefix .. 'dead', 'MAXLEN', MAX_DEAD, '*', 'job', job, 'task', task,
       'attempts', attempts, 'code', code, 'message', message)
  finish(job, 'failed', code, message)
  count('dead_letters')
end
