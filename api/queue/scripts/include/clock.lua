-- What is due by the server's clock.
---@include jobs

-- When the clock falls back, waits that were computed before would last too long: they start anew.
local function mind_clock()
  local before = tonumber(call('GET', prefix .. 'clock') or '0')
  if NOW < before - 1000 then
    for _, priority in ipairs(PRIORITIES) do
      local stream = queue_key(priority)
      for _, pending in ipairs(call('XPENDING', stream, GROUP, '-', '+', 10000)) do
        call('XCLAIM', stream, GROUP, pending[2], 0, pending[1], 'IDLE', 0, 'JUSTID')
      end
    end
    for _, member in ipairs(call('ZRANGE', prefix .. 'retry', 0, -1)) do
      call('ZADD', prefix .. 'retry', whole(NOW), member)
    end
  end
  call('SET', prefix .. 'clock', whole(NOW))
end

-- Puts due retries back and ends jobs whose deadline has passed; also makes the groups. The error
-- of a server that takes no writes, or nil.
local function tick()
  for _, priority in ipairs(PRIORITIES) do
    local made = redis.pcall('XGROUP', 'CREATE', queue_key(priority), GROUP, '0', 'MKSTREAM')
    if made.err and not string.find(made.err, 'BUSYGROUP') then return made end
  end
  mind_clock()
  for _, job in ipairs(call('ZRANGEBYSCORE', prefix .. 'deadlines', '-inf', whole(NOW),
                            'LIMIT', 0, MAX_BATCH)) do
    call('ZREM', prefix .. 'deadlines', job)
    if is_open(call('HGET', job_key(job), 'state')) then expire(job) end
  end
  local due = call('ZRANGEBYSCORE', prefix .. 'retry', '-inf', whole(NOW), 'LIMIT', 0, MAX_BATCH)
  for _, member in ipairs(due) do
    call('ZREM', prefix .. 'retry', member)
    local job, task = string.match(member, '^(%x+):(%d+)$')
    if is_open(call('HGET', job_key(job), 'state')) then
      add_entry(job, task, call('HGET', job_key(job), 'priority'))
    end
  end
  if #due > 0 then ring() end
end
