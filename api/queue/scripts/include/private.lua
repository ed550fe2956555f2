-- Names of the private files of jobs, so that each is deleted with its job:
--
--   private:<job>      name of the folder that the job has taken over
--   private-folders    hash: job by name, of all that are taken over
--   private-ended      set of names whose job has ended: to be deleted, see `api.store.private`
--
-- The server sees names, which are random, and never what is in the files.
---@include basics

local function private_key(job) return prefix .. 'private:' .. job end

-- The folder of a job, taken over by the first who offers one; '' when nobody has.
local function take_over(job, name)
  if name ~= '' and call('SETNX', private_key(job), name) == 1 then
    call('HSET', prefix .. 'private-folders', name, job)
  end
  return call('GET', private_key(job)) or ''
end

-- With the end of the job.
local function give_up(job)
  local name = call('GET', private_key(job))
  if name then
    call('DEL', private_key(job))
    call('HDEL', prefix .. 'private-folders', name)
    call('SADD', prefix .. 'private-ended', name)
  end
end
