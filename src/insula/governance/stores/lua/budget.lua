-- What calendar budgets have left. Money is dollars and nano-dollars, compared in that order.

local function less(d, n, dollars, nanos) return d < dollars or (d == dollars and n < nanos) end

local function plus(d, n, dollars, nanos)
  local sum = n + nanos
  local carry = floor(sum / NANO)
  return d + dollars + carry, sum - carry * NANO
end

-- Narrow `room` (tokens; dollars and nanos; nil: no such budget) to what one level has free.
local function narrow(room, l, s, m)
  for at = 10, 11 do
    if l[at] >= 0 then
      local free = l[at] - m[at * 4 - 32] - s[TOKENS]
      if not room.tokens or free < room.tokens then room.tokens = free end
    end
  end
  for at = 12, 14, 2 do
    if l[at] >= 0 then
      local used = at == 12 and 9 or 13
      local d, n = plus(l[at], l[at + 1], -m[used] - s[DOLLARS], -m[used + 1] - s[NANOS])
      if not room.dollars or less(d, n, room.dollars, room.nanos) then room.dollars, room.nanos = d, n end
    end
  end
end
