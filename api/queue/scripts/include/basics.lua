-- The keys of the queue, all under one prefix, and what every script begins with:
--
--   queue:<priority>   stream of tasks (job, task), one group `workers`; an entry is there as long
--                      as its task waits or runs, so the length is the load
--   job:<id>           hash: the record of a job, see `JobRecord.decode`
--   tasks:<id>         hash, per task i: e:i its entry, a:i its attempts, p:i its progress
--   results:<id>       hash: i the result of task i, w:i the entry and attempt that wrote it
--   events:<id>        capped stream of progress; the last entry of a job is of type "end"
--   retry, deadlines   sorted sets by time in ms
--   dead               stream of dead letters
--   jobs, jobs:<owner> sorted sets of jobs by time of creation
--   idem:<owner>:<key> job of an idempotency key
--   owner:<owner>, kept:<owner>, idems:<owner>      what an owner has here, see accounts.lua
--   private:<id>, private-folders, private-ended    names of private files, see private.lua
--   states, counters   hashes of numbers for metrics
--   clock              the server's clock, in ms, as it was last seen
--   bell               stream of one entry, a new one whenever a task comes; the idle wait on it
--
-- A worker holds a task by the pair (entry, attempt). Each delivery counts the attempt up, each
-- retry makes a new entry; so whatever a worker does that has lost its task finds another pair and
-- is refused. Time is the server's. Nothing depends on it but waiting: when its clock leaps
-- forward, leases end early and the pair decides; when it falls back, leases and retries start
-- anew.
---@param prefix string      of all keys

local GROUP = 'workers'
local PRIORITIES = {'high', 'normal', 'low'}
local OPEN = {queued = true, running = true, retrying = true}
local MAX_BATCH = 256
local call = redis.call

local function read_clock()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local NOW = read_clock()

local function job_key(job) return prefix .. 'job:' .. job end
local function tasks_key(job) return prefix .. 'tasks:' .. job end
local function results_key(job) return prefix .. 'results:' .. job end
local function events_key(job) return prefix .. 'events:' .. job end
local function queue_key(priority) return prefix .. 'queue:' .. priority end

local function whole(x) return string.format('%.0f', x) end
local function is_open(state) return state and OPEN[state] or false end
local function count(name, by) call('HINCRBYFLOAT', prefix .. 'counters', name, by or 1) end
