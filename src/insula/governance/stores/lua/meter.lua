-- What a level used in the hours, days and months of UTC; follows level.lua in the record.
--
-- When the books were read, hour, month, then (tokens, dollars, nano-dollars, calls) of the hour, its day
-- and its month. Then three lists of other windows, hours, days, months: how many, then number and sums of
-- each, the least recently used first.

local METER, ENTRY = '<ddddddddddddddd', '<ddddd'
local TAIL = WIDTH + 15 * 8 + 1
local KEPT = 4
local HOUR_US = 3600000000

-- Turn to another hour, later or earlier. Rare, so its parts are made only when it is called.
local function turn(m, raw, hour)
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

  local function lists(raw)
    local at, found = TAIL, {}
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

  local NOTHING = {0, 0, 0, 0, 0}

  local function find(list, number)
    for i, entry in ipairs(list) do
      if entry[1] == number then return entry, i end
    end
    return NOTHING, nil
  end

  local function drop(list, number)
    local entry, i = find(list, number)
    if i then table.remove(list, i) end
    return entry
  end

  -- Put the sums at m[at..] away under their number.
  local function keep(list, number, m, at)
    drop(list, number)
    if m[at] ~= 0 or m[at + 1] ~= 0 or m[at + 2] ~= 0 or m[at + 3] ~= 0 then
      list[#list + 1] = {number, m[at], m[at + 1], m[at + 2], m[at + 3]}
    end
    while #list > KEPT do table.remove(list, 1) end
  end

  local found = lists(raw)
  keep(found[1], m[2], m, 4)
  keep(found[2], floor(m[2] / 24), m, 8)
  keep(found[3], m[3], m, 12)
  m[2], m[3] = hour, month_of(hour)
  local sums = {drop(found[1], hour), find(found[2], floor(hour / 24)), find(found[3], m[3])}
  for kind = 1, 3 do
    for i = 1, 4 do m[kind * 4 - 1 + i] = sums[kind][i + 1] end
  end
  local tail = {}
  for kind = 1, 3 do
    tail[#tail + 1] = struct.pack('<d', #found[kind])
    for _, entry in ipairs(found[kind]) do tail[#tail + 1] = struct.pack(ENTRY, unpack(entry)) end
  end
  m.tail = table.concat(tail)
end

-- The meter of a record at the present hour; nil if its books were not read yet.
local function metered(raw, now)
  if not raw or #raw <= WIDTH then return nil end
  local m = {struct.unpack(METER, raw, WIDTH + 1)}
  local hour = floor(now / HOUR_US)
  if m[2] == hour then m.tail = string.sub(raw, TAIL) else turn(m, raw, hour) end
  return m
end

local function count(m, tokens, dollars, nanos)
  for at = 4, 12, 4 do
    local n = m[at + 2] + nanos
    local carry = floor(n / NANO)
    m[at], m[at + 1], m[at + 2] = m[at] + tokens, m[at + 1] + dollars + carry, n - carry * NANO
    m[at + 3] = m[at + 3] + 1
  end
end

local function packed(m)
  return m and struct.pack(METER, unpack(m, 1, 15)) .. m.tail
end

-- The meter as it was, for scripts that neither read nor add.
local function carried(raw)
  return raw and #raw > WIDTH and string.sub(raw, WIDTH + 1) or nil
end
