-- What calendar budgets have left. Money is dollars and nano-dollars, compared in that order.

local function less(d, n, dollars, nanos) return d < dollars or (d == dollars and n < nanos) end

-- Narrow `room` (tokens; dollars and nanos; nil: no such budget) to what one level has free.
local function narrow(room, l, s, now)
  local hour = floor(now / HOUR_US)
  if s[HOUR] ~= hour then turn(s, hour) end
  local rests = rests_of(s)
  for at = 10, 11 do
    if l[at] >= 0 then
      local free = l[at] - s[USED] - rests[at * 4 - 39] - s[TOKENS]
      if not room.tokens or free < room.tokens then room.tokens = free end
    end
  end
  for at = 12, 14, 2 do
    if l[at] >= 0 then
      local rest = at == 12 and 2 or 6
      local d, n = plus(l[at], l[at + 1], -s[USED + 1] - s[DOLLARS], -s[USED + 2] - s[NANOS])
      d, n = plus(d, n, -rests[rest], -rests[rest + 1])
      if not room.dollars or less(d, n, room.dollars, room.nanos) then room.dollars, room.nanos = d, n end
    end
  end
end
