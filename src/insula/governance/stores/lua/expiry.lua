-- End calls that nobody settled in time, whoever's they were.

local BATCH = 100

local function expire_call(prefix, rid, base, now)
  local key = prefix .. 'c:' .. rid
  local c = open_call(redis.call('GET', key))
  redis.call('ZREM', prefix .. 'x', rid)
  if not c or c[1] ~= LIVE then return false end
  local more, drop = {0, 0, 0, 0}, {0, 0, 0, 0}
  if c[12] == 1 then more, drop = advance(c, c[13], c[14], c[15]) end
  local tokens, dollars, nanos = release(c, drop)
  for name in string.gmatch(c.path, '[^\n]+') do
    local level = prefix .. 'l:' .. name
    local raw = redis.call('GET', level)
    local s = open(raw, base, now)
    debit(s, more, drop, now)
    s[SLOTS] = s[SLOTS] - 1
    promise(s, -tokens, -dollars, -nanos)
    save(level, s, carried(raw), 0)
  end
  c[1] = EXPIRED
  save_call(key, c, now)
  return true
end

-- Returns the ids of those that ended, and whether there may be more.
local function expire_due(prefix, base, now)
  local due = redis.call('ZRANGEBYSCORE', prefix .. 'x', '-inf', string.format('%.0f', now), 'LIMIT', 0, BATCH)
  local ended = {}
  for _, rid in ipairs(due) do
    if expire_call(prefix, rid, base, now) then ended[#ended + 1] = rid end
  end
  return ended, #due == BATCH
end
