-- What a level used in the hours, days and months of UTC.
--
-- The present hour is in the level's figures (level.lua). After them: (tokens, dollars, nano-dollars, calls) of
-- the rest of the day and of the rest of the month; then three lists of other windows, hours, days, months: how
-- many, then number and sums of each, the least recently used first.

local RESTS, RESTS_WIDTH, ENTRY = '<dddddddd', 64, '<ddddd'
local NO_RESTS = {0, 0, 0, 0, 0, 0, 0, 0}
local KEPT = 4

-- What was used in the rest of the day and of the month.
local function rests_of(s)
  if s[REST] == '' then return NO_RESTS end
  return {struct.unpack(RESTS, s[REST])}
end

local function plus(d, n, dollars, nanos)
  local sum = n + nanos
  local carry = floor(sum / NANO)
  return d + dollars + carry, sum - carry * NANO
end

-- The three lists of windows that begin at a place of a string.
local function windows(raw, at)
  local found = {}
  for kind = 1, 3 do
    local list, count = {}, 0
    if at <= #raw then count, at = struct.unpack('<d', raw, at) end
    for i = 1, count do
      local n, q, d, f, c
      n, q, d, f, c, at = struct.unpack(ENTRY, raw, at)
      list[i] = {n, q, d, f, c}
    end
    found[kind] = list
  end
  return found
end

-- Turn to another hour, later or earlier, and add what `books` hold: a list of three lists of windows each.
-- Rare, so its parts are made only when it is called.
local function turn(s, hour, books)
  local function month_of(hour)
    -- Days to a civil month, counted in eras of 400 years that begin on the first of March.
    local z = floor(hour / 24) + 719468
    local era = floor(z / 146097)
    local doe = z - era * 146097
    local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
    local mp = floor((5 * (doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))) + 2) / 153)
    local month = mp < 10 and mp + 3 or mp - 9
    return (yoe + era * 400 + (month <= 2 and 1 or 0)) * 12 + month - 1
  end

  local function add(one, other)
    local d, n = plus(one[3], one[4], other[3], other[4])
    return {one[1], one[2] + other[2], d, n, one[5] + other[5]}
  end

  local function rest_of(whole, part)
    local d, n = plus(whole[3], whole[4], -part[3], -part[4])
    return struct.pack('<dddd', whole[2] - part[2], d, n, whole[5] - part[5])
  end

  local function take(list, number)
    for i, entry in ipairs(list) do
      if entry[1] == number then return table.remove(list, i) end
    end
    return {number, 0, 0, 0, 0}
  end

  -- The sums of a window go to the end of its list.
  local function keep(list, entry)
    take(list, entry[1])
    if entry[2] ~= 0 or entry[3] ~= 0 or entry[4] ~= 0 or entry[5] ~= 0 then list[#list + 1] = entry end
    while #list > KEPT do table.remove(list, 1) end
  end

  -- Windows that only books know go first: they are the first to be forgotten.
  local function merge(list, entry)
    for i, known in ipairs(list) do
      if known[1] == entry[1] then list[i] = add(known, entry) return end
    end
    table.insert(list, 1, entry)
  end

  local present = {s[HOUR], unpack(s, USED, USED + 3)}
  local rests = rests_of(s)
  local found = windows(s[REST], RESTS_WIDTH + 1)
  keep(found[1], present)
  keep(found[2], add({floor(s[HOUR] / 24), unpack(rests, 1, 4)}, present))
  keep(found[3], add({month_of(s[HOUR]), unpack(rests, 5, 8)}, present))
  for _, more in ipairs(books or {}) do
    for kind = 1, 3 do
      for i = #more[kind], 1, -1 do merge(found[kind], more[kind][i]) end
    end
  end

  present = take(found[1], hour)
  local day, month = take(found[2], floor(hour / 24)), take(found[3], month_of(hour))
  s[HOUR] = hour
  for i = 1, 4 do s[USED - 1 + i] = present[i + 1] end
  local parts = {rest_of(day, present), rest_of(month, present)}
  for kind, whole in ipairs({present, day, month}) do
    if kind > 1 then keep(found[kind], whole) end
    parts[#parts + 1] = struct.pack('<d', #found[kind])
    for _, entry in ipairs(found[kind]) do parts[#parts + 1] = struct.pack(ENTRY, unpack(entry)) end
  end
  s[REST] = table.concat(parts)
end

-- Count what a call used in the present hour.
local function count(s, tokens, dollars, nanos, now)
  local hour = floor(now / HOUR_US)
  if s[HOUR] ~= hour then turn(s, hour) end
  s[USED] = s[USED] + tokens
  s[USED + 1], s[USED + 2] = plus(s[USED + 1], s[USED + 2], dollars, nanos)
  s[USED + 3] = s[USED + 3] + 1
end
