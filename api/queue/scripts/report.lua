-- Shows how far a task is.
---@include holder
---@param stage string
---@param done string        of the stage's parts
---@param total string
---@param fraction number    of the task, in [0, 1]
---@return string            'held', 'lost', 'cancelled' or 'expired'

local standing = find_standing()
if standing ~= 'held' then return standing end
set_progress(job, task, fraction)
call('HSET', job_key(job), 'stage', stage, 'stage_done', done, 'stage_total', total)
emit(job, 'progress', {stage = stage, done = tonumber(done), total = tonumber(total),
                       fraction = find_share(job), shard = tonumber(task)})
return 'held'
