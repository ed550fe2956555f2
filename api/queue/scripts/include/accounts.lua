-- What one owner has in the server, so that none fills it:
--
--   owner:<owner>   hash of totals: `tasks` of open jobs, `bytes` of their results, `kept` bytes of
--                   jobs that have ended and whose time to live is not over
--   kept:<owner>    sorted set by that time in ms: <job>:<bytes>
--   idems:<owner>   sorted set of idempotency keys by their end in ms
--
-- A job that has ended weighs its results, its spec, its events and a record. Totals change in the
-- step that changes what they count.
---@include basics

local RECORD_BYTES, EVENT_BYTES = 2048, 256

local function tally(owner, what, by)
  local key = prefix .. 'owner:' .. owner
  if by then return call('HINCRBY', key, what, by) end
  return tonumber(call('HGET', key, what) or '0')
end

-- Seconds until the first member of a sorted set is due, as text.
local function wait_for_first(key)
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return whole(first[2] and math.max(0, math.ceil((first[2] - NOW) / 1000)) or 0)
end

-- The start of a job.
local function open_account(job)
  local owner, n_tasks = unpack(call('HMGET', job_key(job), 'owner', 'n_tasks'))
  tally(owner, 'tasks', n_tasks)
end

local function add_result(job, n_bytes)
  call('HINCRBY', job_key(job), 'n_bytes', n_bytes)
  tally(call('HGET', job_key(job), 'owner'), 'bytes', n_bytes)
end

-- The end of a job, whose results are deleted unless it is done.
local function close_account(job, state)
  local owner, n_tasks, n_bytes, spec, ttl_s =
    unpack(call('HMGET', job_key(job), 'owner', 'n_tasks', 'n_bytes', 'spec', 'ttl_s'))
  n_bytes = tonumber(n_bytes or '0')
  tally(owner, 'tasks', -n_tasks)
  tally(owner, 'bytes', -n_bytes)
  local weight = RECORD_BYTES + #spec + EVENT_BYTES * call('XLEN', events_key(job))
  if state == 'done' then weight = weight + n_bytes end
  call('HSET', job_key(job), 'weight', whole(weight))
  local kept = prefix .. 'kept:' .. owner
  call('ZADD', kept, whole(NOW + 1000 * ttl_s), job .. ':' .. whole(weight))
  call('EXPIRE', kept, ttl_s)
  tally(owner, 'kept', whole(weight))
end

-- Before a job that has ended starts anew.
local function forget(job)
  local owner, weight = unpack(call('HMGET', job_key(job), 'owner', 'weight'))
  if weight and call('ZREM', prefix .. 'kept:' .. owner, job .. ':' .. weight) == 1 then
    tally(owner, 'kept', -weight)
  end
  call('HDEL', job_key(job), 'weight', 'n_bytes')
end

-- nil when less than the limit is stored for the owner; else seconds until some of it expires.
local function wait_for_room(owner, limit)
  local kept = prefix .. 'kept:' .. owner
  local due = call('ZRANGEBYSCORE', kept, '-inf', whole(NOW), 'LIMIT', 0, MAX_BATCH)
  for _, member in ipairs(due) do
    call('ZREM', kept, member)
    tally(owner, 'kept', -string.match(member, '%d+$'))
  end
  if call('EXISTS', kept) == 0 then call('HSET', prefix .. 'owner:' .. owner, 'kept', 0) end
  if tally(owner, 'bytes') + tally(owner, 'kept') < limit then return nil end
  return wait_for_first(kept)
end

-- nil when the owner may send another idempotency key; else seconds until one of them ends.
local function wait_for_key(owner, limit)
  local keys = prefix .. 'idems:' .. owner
  call('ZREMRANGEBYSCORE', keys, '-inf', whole(NOW))
  if call('ZCARD', keys) < limit then return nil end
  return wait_for_first(keys)
end

local function count_key(owner, idem, ttl_s)
  local keys = prefix .. 'idems:' .. owner
  call('ZADD', keys, whole(NOW + 1000 * ttl_s), idem)
  call('EXPIRE', keys, ttl_s)
end
