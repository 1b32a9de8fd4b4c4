-- One running call: what it holds on every level of its path, in one string.
--
-- State, held (requests, tokens, input, output), used (tokens, input, output), promised by budgets
-- (tokens, dollars, nano-dollars), charge at expiry (whether at all, tokens, input, output), reserved at,
-- expires at; then the keys of its levels. One that ended leaves a mark for a while, so that what is
-- sent twice is counted once.

local CALL, PARTS = '<ddddddddddddddddd', 17
local LIVE, EXPIRED, DONE = 1, 2, 'D'
local LATE_US = 86400000000

local function open_call(raw)
  if not raw or raw == DONE then return nil end
  local c = {struct.unpack(CALL, raw)}
  c.path = string.sub(raw, PARTS * 8 + 1)
  return c
end

local function save_call(key, c)
  local n = #writes
  writes[n + 1], writes[n + 2] = key, struct.pack(CALL, unpack(c, 1, PARTS)) .. c.path
end

local function close_call(index, key, rid, keep_ms)
  redis.call('ZREM', index, rid)
  redis.call('SET', key, DONE, 'PX', keep_ms)
end

-- Use up to these totals: returns what to take from the levels and what leaves the hold. The call is
-- thereby sent. Less than was used already is ignored.
local function advance(c, tokens, input, output)
  local total = {tokens, input, output}
  local more, drop = {c[2], 0, 0, 0}, {c[2], 0, 0, 0}
  c[2] = 0
  for k = 1, 3 do
    local extra = total[k] - c[5 + k]
    if extra > 0 then
      more[k + 1], drop[k + 1] = extra, min(extra, c[2 + k])
      c[2 + k], c[5 + k] = c[2 + k] - drop[k + 1], total[k]
    end
  end
  return more, drop
end

-- Give up the rest of the hold; adds it to `drop`.
local function release(c, drop)
  for k = 1, 4 do
    drop[k], c[k + 1] = drop[k] + c[k + 1], 0
  end
  local tokens, dollars, nanos = c[9], c[10], c[11]
  c[9], c[10], c[11] = 0, 0, 0
  return tokens, dollars, nanos
end
