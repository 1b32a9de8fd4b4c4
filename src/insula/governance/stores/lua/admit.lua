-- Whether a call fits on every level of its path, and what budgets promise it.
--
-- A need: estimate (requests, tokens, input, output), most, wanted and least of budgets (tokens, dollars,
-- nano-dollars), charge at expiry (whether at all, tokens, input, output), time to live in us.

local NEED, PLENTY = '<dddddddddddddddddd', 16

-- What budgets with so much left promise: see Need in the quota package.
local function promised(need, room)
  local tokens, dollars, nanos = need[5], need[6], need[7]
  local free, d, n = room.tokens, room.dollars, room.nanos
  if free then tokens = min(tokens, min(free, max(need[8], floor(free / PLENTY)))) end
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
local function fits(s, l, need, base, now)
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

-- Open every level; what budgets promise, or nil if the call does not fit.
local function admit(got, limits, need, count, levels, base, now)
  local room
  for i = 1, count do
    local l = limits_of(limits, i)
    local s = open(got[2 + i], base, now)
    levels[i] = s
    if not fits(s, l, need, base, now) then return nil end
    if l[BOOKS] > 0 then
      room = room or {}
      narrow(room, l, s, now)
    end
  end
  if room then return promised(need, room) end
  return need[5], need[6], need[7]
end
