-- End calls that nobody settled in time, whoever's they were.

local BATCH = 100

-- Returns the ids of those that ended, and whether there may be more.
local function expire_due(prefix, base, now)
  local function expire_call(rid)
    local key = prefix .. 'c:' .. rid
    local c = open_call(redis.call('GET', key))
    redis.call('ZREM', prefix .. 'x', rid)
    if not c or c[1] ~= LIVE then return false end
    local more, drop = {0, 0, 0, 0}, {0, 0, 0, 0}
    if c[12] == 1 then more, drop = advance(c, c[13], c[14], c[15]) end
    local tokens, dollars, nanos = release(c, drop)
    for name in string.gmatch(c.path, '[^\n]+') do
      local level = prefix .. 'l:' .. name
      local s = open(redis.call('GET', level), base, now)
      debit(s, more, drop, now)
      s[SLOTS] = s[SLOTS] - 1
      promise(s, -tokens, -dollars, -nanos)
      save(level, s)
    end
    write()
    c[1] = EXPIRED
    redis.call('SET', key, struct.pack(CALL, unpack(c, 1, PARTS)) .. c.path, 'PX', LATE_US / 1000)
    return true
  end

  local due = redis.call('ZRANGEBYSCORE', prefix .. 'x', '-inf', now, 'LIMIT', 0, BATCH)
  local ended = {}
  for _, rid in ipairs(due) do
    if expire_call(rid) then ended[#ended + 1] = rid end
  end
  return ended, #due == BATCH
end
