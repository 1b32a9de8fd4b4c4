-- What gateways used before they came to this store: each tells it once, into a hash of its own (level: three
-- lists of windows, see meter.lua), and is then in the list of those that joined. A level takes the books in
-- when its meter is first read after that.

local function take_books(s, prefix, name, base, now)
  local books = {}
  for _, gateway in ipairs(redis.call('LRANGE', prefix .. 'b', s[JOINED], base.joined - 1)) do
    local told = redis.call('HGET', prefix .. 'b:' .. gateway, name)
    if told then books[#books + 1] = windows(told, 1) end
  end
  turn(s, floor(now / HOUR_US), books)
  s[JOINED] = base.joined
end

-- Whether enough gateways joined for the levels whose meters are read. Those levels take in what is new.
local function read_books(got, keys, first, limits, count, base, now)
  for i = 1, count do
    if string.byte(limits, i * 128) ~= 0 then
      if base.joined < struct.unpack('<d', limits, i * 128 - 7) then return false end
      local raw, key = got[2 + i], keys[first + i]
      if not raw or struct.unpack('<d', raw, JOINED * 8 - 7) < base.joined then
        local s, prefix = open(raw, base, now), string.sub(keys[1], 1, -2)
        take_books(s, prefix, string.sub(key, #prefix + 3), base, now)
        got[2 + i] = save(key, s)
        write()
      end
    end
  end
  return true
end
