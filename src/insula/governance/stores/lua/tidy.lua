-- Walk slowly through all levels and forget those that are as good as new: full, promised to nobody, and
-- not used in the last forty days.
--
-- KEYS ground, index. ARGV generation, clock, cursor, how many keys to look at. Answers 1 (cursor),
-- 2 another store.

local FORTY_DAYS = 960
local now = clock(ARGV[2])
local base = ground(redis.call('GET', KEYS[1]), ARGV[1])
if not base then return {2, now} end

local function idle(raw)
  local s = open(raw, base, now)
  for b = 0, 18, 6 do
    if s[b + 5] ~= 0 or fresh(s, b, now) < s[b + 1] then return false end
  end
  if s[SLOTS] ~= 0 or s[TOKENS] ~= 0 or s[DOLLARS] ~= 0 or s[NANOS] ~= 0 then return false end
  return (s[REST] == '' and s[USED + 3] == 0) or s[HOUR] + FORTY_DAYS < now / HOUR_US
end

local prefix = string.sub(KEYS[2], 1, -2)
local found = redis.call('SCAN', ARGV[3], 'MATCH', prefix .. 'l:*', 'COUNT', ARGV[4])
for _, key in ipairs(found[2]) do
  local raw = redis.call('GET', key)
  if raw and idle(raw) then redis.call('DEL', key) end
end
return {1, now, found[1]}
