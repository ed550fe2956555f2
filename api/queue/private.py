"""Names of the private files of jobs, so that each is deleted with its job: part of the scripts.

    private:<job>      name of the folder that the job has taken over
    private-folders    hash: job by name, of all that are taken over
    private-ended      set of names whose job has ended: to be deleted, see `api.store.private`

The server sees names, which are random, and never what is in the files.
"""

from __future__ import annotations

PRIVATE = """
local function private_key(job) return P .. 'private:' .. job end

-- The folder of a job, taken over by the first who offers one.
local function take_over(job, name)
  if name ~= '' and call('SETNX', private_key(job), name) == 1 then
    call('HSET', P .. 'private-folders', name, job)
  end
  return call('GET', private_key(job)) or ''
end

-- With the end of the job.
local function give_up(job)
  local name = call('GET', private_key(job))
  if name then
    call('DEL', private_key(job))
    call('HDEL', P .. 'private-folders', name)
    call('SADD', P .. 'private-ended', name)
  end
end
"""
