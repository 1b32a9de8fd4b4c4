-- Hold what a call needs on every level of its path, or nothing.
--
-- KEYS ground, index, call, levels. ARGV generation, clock, not after, need, id, path, limits.
-- Answers 1 admitted (what budgets hold, levels), 0 refused (levels), 2 another store, 3 books to be read
-- first (which levels), 4 too late to be asked.

local NEED, PLENTY = '<dddddddddddddddddd', 16
local now = clock(ARGV[2])
local function fetch() return redis.call('MGET', KEYS[1], unpack(KEYS, 3)) end
local got = fetch()
local base = ground(got[1], ARGV[1])
if not base then return {2, now} end
local held = open_call(got[2])
if held and held[1] == LIVE then
  return {1, now, struct.pack('<ddd', held[9], held[10], held[11])}
end
if ARGV[3] ~= '' and now > tonumber(ARGV[3]) then return {4, now} end
local need = {struct.unpack(NEED, ARGV[4])}
local count = #KEYS - 3
local limits, levels, meters = {}, {}, {}
local unread = {}
for i = 1, count do
  limits[i] = limits_of(ARGV[7], i)
  if limits[i][BOOKS] == 1 and (not got[2 + i] or #got[2 + i] <= WIDTH) then unread[#unread + 1] = i end
end
if #unread > 0 then return {3, now, unpack(unread)} end

-- What budgets with so much left promise: see Need in the quota package.
local function promised(room)
  local tokens, dollars, nanos = need[5], need[6], need[7]
  local free, d, n = room.tokens, room.dollars, room.nanos
  if free then tokens = min(tokens, free, max(need[8], floor(free / PLENTY))) end
  if d then
    local part, rest = floor(d / PLENTY), d % PLENTY
    local want_d, want_n = part, floor((rest * NANO + n) / PLENTY)
    if less(want_d, want_n, need[9], need[10]) then want_d, want_n = need[9], need[10] end
    if less(want_d, want_n, dollars, nanos) then dollars, nanos = want_d, want_n end
    if less(d, n, dollars, nanos) then dollars, nanos = d, n end
  end
  if tokens >= need[11] and not less(dollars, nanos, need[12], need[13]) then return tokens, dollars, nanos end
end

-- Bring the limits of a level up to date; whether its rates and slots have room.
local function fits(s, l)
  for m = 1, 4 do
    local cap, rate = l[m * 2 - 1], l[m * 2]
    if cap > 0 then
      local b = m * 6 - 6
      if s[b + 1] ~= cap or s[b + 2] ~= rate then resize(s, b, cap, rate, base, now) end
      local least = need[m] + s[b + 5]
      if s[b + 3] < least and fresh(s, b, now) < least then return false end
    end
  end
  return l[9] < 0 or s[SLOTS] < l[9]
end

local function admit()
  local room = {}
  for i = 1, count do
    local raw, l = got[2 + i], limits[i]
    local s, m = open(raw, base, now), metered(raw, now)
    levels[i], meters[i] = s, m
    if not fits(s, l) then return nil end
    if m then narrow(room, l, s, m) end
  end
  return promised(room)
end

local tokens, dollars, nanos = admit()
if not tokens then
  -- Perhaps only overdue calls stand in the way.
  local any, more, ended = false, true, nil
  local prefix = string.sub(KEYS[2], 1, -2)
  while more do
    ended, more = expire_due(prefix, base, now)
    any = any or #ended > 0
  end
  if any then
    got = fetch()
    tokens, dollars, nanos = admit()
  end
  if not tokens then return {0, now, unpack(got, 3, 2 + count)} end
end

local expires = now + need[18]
local answer = {1, now, struct.pack('<ddd', tokens, dollars, nanos)}
for i = 1, count do
  local s = levels[i]
  s[5], s[11], s[17], s[23] = s[5] + need[1], s[11] + need[2], s[17] + need[3], s[23] + need[4]
  s[SLOTS] = s[SLOTS] + 1
  promise(s, tokens, dollars, nanos)
  answer[3 + i] = save(KEYS[3 + i], s, packed(meters[i]))
end
save_call(KEYS[3], {LIVE, need[1], need[2], need[3], need[4], 0, 0, 0, tokens, dollars, nanos,
  need[14], need[15], need[16], need[17], now, expires, path = ARGV[6]})
write()
redis.call('ZADD', KEYS[2], expires, ARGV[5])
return answer
