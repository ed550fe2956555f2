"""What happens inside the server, each script in one step: the rules of the queue, in Lua.

Keys, all under one prefix:

    queue:<priority>   stream of tasks (job, task), one group `workers`; an entry is there as long
                       as its task waits or runs, so the length is the load
    job:<id>           hash: the record of a job, see `JobRecord.decode`
    tasks:<id>         hash, per task i: e:i its entry, a:i its attempts, p:i its progress, w:i the
                       entry and attempt that wrote the result
    results:<id>       hash: result by task
    events:<id>        capped stream of progress; the last entry of a job is of type "end"
    retry, deadlines   sorted sets by time in ms
    dead               stream of dead letters
    jobs, jobs:<owner> sorted sets of jobs by time of creation
    idem:<owner>:<key> job of an idempotency key
    owner:<owner>, kept:<owner>, idems:<owner>      what an owner has here, see `accounts`
    private:<id>, private-folders, private-ended    names of private files, see `private`
    states, counters   hashes of numbers for metrics
    bell               stream of one entry, a new one whenever a task comes; the idle wait on it

A worker holds a task by the pair (entry, attempt). Each delivery counts the attempt up, each retry
makes a new entry; so whatever a worker does that has lost its task finds another pair and is
refused. Time is the server's. Nothing depends on it but waiting: when its clock leaps forward,
leases end early and the pair decides; when it falls back, leases and retries start anew.
"""

from __future__ import annotations

from api.queue.accounts import ACCOUNTS
from api.queue.private import PRIVATE

_BASICS = """
local P = ARGV[1]
local GROUP = 'workers'
local PRIORITIES = {'high', 'normal', 'low'}
local OPEN = {queued = true, running = true, retrying = true}
local MAX_EVENTS, MAX_DEAD, MAX_BATCH = 1000, 10000, 256
local call = redis.call

local function read_clock()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local NOW = read_clock()

local function job_key(job) return P .. 'job:' .. job end
local function tasks_key(job) return P .. 'tasks:' .. job end
local function queue_key(priority) return P .. 'queue:' .. priority end
local function whole(x) return string.format('%.0f', x) end
local function is_open(state) return state and OPEN[state] or false end
local function count(name, by) call('HINCRBYFLOAT', P .. 'counters', name, by or 1) end

"""

_RULES = """
local function ring() call('XADD', P .. 'bell', 'MAXLEN', '1', '*', 'n', '1') end

local function emit(job, kind, data)
  call('XADD', P .. 'events:' .. job, 'MAXLEN', MAX_EVENTS, '*', 'type', kind,
       'data', cjson.encode(data))
end

local function set_state(job, new)
  local old = call('HGET', job_key(job), 'state')
  if old == new then return end
  if is_open(old) then call('HINCRBY', P .. 'states', old, -1) end
  call('HINCRBY', P .. 'states', new, 1)
  call('HSET', job_key(job), 'state', new)
  if is_open(new) then emit(job, 'state', {state = new}) end
end

local function drop_entry(priority, id)
  call('XACK', queue_key(priority), GROUP, id)
  call('XDEL', queue_key(priority), id)
end

local function add_entry(job, task, priority)
  local id = call('XADD', queue_key(priority), '*', 'job', job, 'task', task)
  call('HSET', tasks_key(job), 'e:' .. task, id)
end

local function drop_tasks(job)
  local priority = call('HGET', job_key(job), 'priority')
  local tasks = call('HGETALL', tasks_key(job))
  for i = 1, #tasks, 2 do
    if string.sub(tasks[i], 1, 2) == 'e:' then drop_entry(priority, tasks[i + 1]) end
  end
  for task = 0, call('HGET', job_key(job), 'n_tasks') - 1 do
    call('ZREM', P .. 'retry', job .. ':' .. task)
  end
  call('DEL', tasks_key(job))
end

-- The one way in which a job ends.
local function finish(job, state, code, message)
  set_state(job, state)
  call('HSET', job_key(job), 'finished_ms', whole(NOW))
  if code then call('HSET', job_key(job), 'error_code', code, 'error_message', message) end
  call('ZREM', P .. 'deadlines', job)
  drop_tasks(job)
  give_up(job)
  if state ~= 'done' then call('DEL', P .. 'results:' .. job) end
  emit(job, 'end', {state = state})
  close_account(job, state)
  local ttl = call('HGET', job_key(job), 'ttl_s')
  for _, kind in ipairs({'job:', 'results:', 'events:'}) do
    call('EXPIRE', P .. kind .. job, ttl)
  end
  count('ended_' .. state)
end

local function start(job, n_tasks, priority)
  for task = 0, n_tasks - 1 do add_entry(job, task, priority) end
  set_state(job, 'queued')
  open_account(job)
  ring()
end

local function bury(job, task, attempts, code, message)
  call('XADD', P .. 'dead', 'MAXLEN', MAX_DEAD, '*', 'job', job, 'task', task,
       'attempts', attempts, 'code', code, 'message', message)
  finish(job, 'failed', code, message)
  count('dead_letters')
end

-- When the clock falls back, waits that were computed before would last too long: they start anew.
local function mind_clock()
  local before = tonumber(call('GET', P .. 'clock') or '0')
  if NOW < before - 1000 then
    for _, priority in ipairs(PRIORITIES) do
      local s = queue_key(priority)
      for _, p in ipairs(call('XPENDING', s, GROUP, '-', '+', 10000)) do
        call('XCLAIM', s, GROUP, p[2], 0, p[1], 'IDLE', 0, 'JUSTID')
      end
    end
    for _, member in ipairs(call('ZRANGE', P .. 'retry', 0, -1)) do
      call('ZADD', P .. 'retry', whole(NOW), member)
    end
  end
  call('SET', P .. 'clock', whole(NOW))
end

local function tick()
  for _, priority in ipairs(PRIORITIES) do
    local made = redis.pcall('XGROUP', 'CREATE', queue_key(priority), GROUP, '0', 'MKSTREAM')
    if made.err and not string.find(made.err, 'BUSYGROUP') then return made end
  end
  mind_clock()
  for _, job in ipairs(call('ZRANGEBYSCORE', P .. 'deadlines', '-inf', whole(NOW),
                            'LIMIT', 0, MAX_BATCH)) do
    call('ZREM', P .. 'deadlines', job)
    if is_open(call('HGET', job_key(job), 'state')) then
      finish(job, 'expired', 'expired', 'the deadline passed before the proof was made')
    end
  end
  local due = call('ZRANGEBYSCORE', P .. 'retry', '-inf', whole(NOW), 'LIMIT', 0, MAX_BATCH)
  for _, member in ipairs(due) do
    call('ZREM', P .. 'retry', member)
    local job, task = string.match(member, '^(%x+):(%d+)$')
    if is_open(call('HGET', job_key(job), 'state')) then
      add_entry(job, task, call('HGET', job_key(job), 'priority'))
    end
  end
  if #due > 0 then ring() end
end

-- 'held', or why the caller no longer holds its task.
local function standing(job, task, id, attempt)
  local state = call('HGET', job_key(job), 'state')
  if state == 'cancelled' or state == 'expired' then return state end
  if not is_open(state) then return 'lost' end
  local now = call('HMGET', tasks_key(job), 'e:' .. task, 'a:' .. task)
  if now[1] ~= id or now[2] ~= attempt then return 'lost' end
  local deadline = call('HGET', job_key(job), 'deadline_ms')
  if deadline and tonumber(deadline) <= NOW then
    finish(job, 'expired', 'expired', 'the deadline passed before the proof was made')
    return 'expired'
  end
  return 'held'
end

local function add_progress(job, task, fraction)
  local before = call('HGET', tasks_key(job), 'p:' .. task) or '0'
  call('HSET', tasks_key(job), 'p:' .. task, fraction)
  call('HINCRBYFLOAT', job_key(job), 'fractions', string.format('%.6f', fraction - before))
end
"""

PRELUDE = _BASICS + ACCOUNTS + PRIVATE + _RULES

SUBMIT = """
local job, spec, owner, priority, n_tasks, deadline_s, limit, ttl_s, idem, idem_ttl_s =
  ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]),
  ARGV[9], ARGV[10], ARGV[11]
local owner_tasks, owner_bytes, owner_keys, private =
  tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14]), ARGV[15]
tick()
-- The job of whoever asks again because the answer was lost is new to him.
local function found_there()
  local is_his = private ~= '' and call('GET', private_key(job)) == private
  return {is_his and 'created' or 'existing', ''}
end
if idem ~= '' then
  local first = call('GET', P .. 'idem:' .. idem)
  if first and first ~= job then return {'conflict', ''} end
  if first and call('EXISTS', job_key(first)) == 1 then return found_there() end
  local wait_s = not first and wait_for_key(owner, owner_keys)
  if wait_s then return {'keys', wait_s} end
end
local function remember()
  if idem ~= '' then
    call('SET', P .. 'idem:' .. idem, job, 'EX', idem_ttl_s)
    count_key(owner, idem, idem_ttl_s)
  end
end
local state = call('HGET', job_key(job), 'state')
if is_open(state) or state == 'done' then
  remember()
  return found_there()
end
local load = call('ZCARD', P .. 'retry')
for _, p in ipairs(PRIORITIES) do load = load + call('XLEN', queue_key(p)) end
if load + n_tasks > limit then return {'full', tostring(load)} end
if tally(owner, 'tasks') + n_tasks > owner_tasks then return {'tasks', '0'} end
local wait_s = wait_for_room(owner, owner_bytes)
if wait_s then return {'bytes', wait_s} end
forget(job)
for _, kind in ipairs({'job:', 'tasks:', 'results:', 'events:'}) do
  call('DEL', P .. kind .. job)
end
call('HSET', job_key(job), 'spec', spec, 'owner', owner, 'priority', priority,
     'created_ms', whole(NOW), 'n_tasks', n_tasks, 'n_done', 0, 'attempts', 0, 'ttl_s', ttl_s)
if deadline_s > 0 then
  local deadline = whole(NOW + 1000 * deadline_s)
  call('HSET', job_key(job), 'deadline_ms', deadline)
  call('ZADD', P .. 'deadlines', deadline, job)
end
-- Each new job makes room of several whose time to live is over: the lists do not grow for ever.
for _, index in ipairs({P .. 'jobs', P .. 'jobs:' .. owner}) do
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
"""

CANCEL = """
local job = ARGV[2]
tick()
if is_open(call('HGET', job_key(job), 'state')) then finish(job, 'cancelled') end
return 1
"""

TICK = """
local failed = tick()
return failed or 1
"""

LEASE = """
local worker, lease_ms, max_deliveries = ARGV[2], ARGV[3], tonumber(ARGV[4])
local failed = tick()
if failed then return failed end

local function abandoned(s)
  local cursor = '0-0'
  repeat
    local found = call('XAUTOCLAIM', s, GROUP, worker, lease_ms, cursor, 'COUNT', 1)
    if #found[2] > 0 then return found[2][1] end
    cursor = found[1]
  until cursor == '0-0'
end

local function read(s, from)
  local found = call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', s, from)
  return found and found[1] and found[1][2][1]
end

-- First what this worker was given in an answer that it never saw, then what others left behind.
local function take(s)
  local entry = read(s, '0')
  if entry then return entry, true end
  entry = abandoned(s)
  if entry then return entry, true end
  return read(s, '>'), false
end

for _, priority in ipairs(PRIORITIES) do
  for _ = 1, MAX_BATCH do
    local entry, again = take(queue_key(priority))
    if not entry then break end
    local id, values = entry[1], {}
    for i = 1, #(entry[2] or {}), 2 do values[entry[2][i]] = entry[2][i + 1] end
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
        add_progress(job, task, 0)
        set_state(job, 'running')
        return {job, task, id, tostring(attempts + 1), call('HGET', job_key(job), 'spec')}
      end
    end
  end
end
return false
"""

# Every script of a lease holder begins with the same arguments.
_HELD = """
local job, task, id, attempt, worker = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local priority = call('HGET', job_key(job), 'priority')
local stands = standing(job, task, id, attempt)
"""

RENEW = (
    _HELD
    + """
if stands ~= 'held' then return stands end
local s = queue_key(priority)
local pending = call('XPENDING', s, GROUP, id, id, 1)
if #pending == 0 or pending[1][2] ~= worker then return 'lost' end
call('XCLAIM', s, GROUP, worker, 0, id, 'JUSTID')
return 'held'
"""
)

REPORT = (
    _HELD
    + """
if stands ~= 'held' then return stands end
local stage, done, total, fraction = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
add_progress(job, task, fraction)
call('HSET', job_key(job), 'stage', stage, 'stage_done', done, 'stage_total', total)
local sum = tonumber(call('HGET', job_key(job), 'fractions'))
local of_job = math.max(0, math.min(1, sum / call('HGET', job_key(job), 'n_tasks')))
emit(job, 'progress', {stage = stage, done = tonumber(done), total = tonumber(total),
                       fraction = of_job, shard = tonumber(task)})
return 'held'
"""
)

COMPLETE = """
local job, task, id, attempt = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local writer = call('HGET', P .. 'results:' .. job, 'w:' .. task)
if writer == id .. '/' .. attempt then return 'stored' end
local stands = standing(job, task, id, attempt)
if stands ~= 'held' then
  count('fenced')
  return stands
end
local result, seconds, samples = ARGV[7], ARGV[8], ARGV[9]
if wait_for_room(call('HGET', job_key(job), 'owner'), tonumber(ARGV[10]) - #result) then
  return 'full'
end
add_result(job, #result)
call('HSET', P .. 'results:' .. job, task, result, 'w:' .. task, id .. '/' .. attempt)
drop_entry(call('HGET', job_key(job), 'priority'), id)
call('HDEL', tasks_key(job), 'e:' .. task)
call('HINCRBYFLOAT', job_key(job), 'seconds', seconds)
add_progress(job, task, 1)
count('proofs')
count('samples', samples)
local n_done = call('HINCRBY', job_key(job), 'n_done', 1)
if n_done == tonumber(call('HGET', job_key(job), 'n_tasks')) then finish(job, 'done') end
return 'stored'
"""

FAIL = (
    _HELD
    + """
if stands ~= 'held' then return stands end
local code, message, delay_ms, max_deliveries =
  ARGV[7], ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
if delay_ms < 0 then
  finish(job, 'failed', code, message)
elseif tonumber(attempt) >= max_deliveries then
  bury(job, task, attempt, code, message)
else
  drop_entry(priority, id)
  call('HDEL', tasks_key(job), 'e:' .. task)
  call('ZADD', P .. 'retry', whole(NOW + delay_ms), job .. ':' .. task)
  add_progress(job, task, 0)
  if call('HGET', job_key(job), 'n_tasks') == '1' then set_state(job, 'retrying') end
  count('retries')
end
return 'held'
"""
)

RELEASE = (
    _HELD
    + """
if stands ~= 'held' then return stands end
drop_entry(priority, id)
call('HINCRBY', tasks_key(job), 'a:' .. task, -1)
add_progress(job, task, 0)
add_entry(job, task, priority)
if call('HGET', job_key(job), 'n_tasks') == '1' then set_state(job, 'queued') end
ring()
return 'held'
"""
)

AGREE = (
    _HELD
    + """
if stands ~= 'held' then return {stands, ''} end
return {'held', take_over(job, ARGV[7])}
"""
)

REPLAY = """
local letter = ARGV[2]
tick()
local found = call('XRANGE', P .. 'dead', letter, letter)
if #found == 0 then return 'not_found' end
local values = found[1][2]
local job = values[2]
local state = call('HGET', job_key(job), 'state')
if state ~= 'failed' then
  call('XDEL', P .. 'dead', letter)
  return state and 'not_failed' or 'gone'
end
if cjson.decode(call('HGET', job_key(job), 'spec')).kind == 'groth16' then return 'witness_gone' end
call('XDEL', P .. 'dead', letter)
for _, kind in ipairs({'tasks:', 'results:', 'events:'}) do
  call('DEL', P .. kind .. job)
end
forget(job)
call('HDEL', job_key(job), 'finished_ms', 'error_code', 'error_message', 'fractions', 'deadline_ms')
call('HSET', job_key(job), 'n_done', 0)
call('PERSIST', job_key(job))
start(job, tonumber(call('HGET', job_key(job), 'n_tasks')), call('HGET', job_key(job), 'priority'))
return 'replayed'
"""
