-- Follow a call or end it: progress, settle and cancel.
--
-- KEYS ground, index, call, levels. ARGV generation, clock, what ('progress', 'settle', 'cancel'), id,
-- used (tokens, input, output, dollars, nano-dollars), 1 if its gateway's books have it, how long to remember
-- (ms). Answers 1 (levels), 5 no such call, 2 another store.

local now = clock(ARGV[2])
local got = redis.call('MGET', KEYS[1], unpack(KEYS, 3))
local base = ground(got[1], ARGV[1])
if not base then return {2, now} end
local what, c = ARGV[3], open_call(got[2])
if not c or (c[1] == EXPIRED and (what ~= 'settle' or now - c[17] >= LATE_US)) then return {5, now} end
local live, ends = c[1] == LIVE, what ~= 'progress'
local used = {struct.unpack('<ddddd', ARGV[5])}
local counts = what == 'settle' and ARGV[6] ~= '1'

local more, drop = {0, 0, 0, 0}, {0, 0, 0, 0}
if what ~= 'cancel' then more, drop = advance(c, used[1], used[2], used[3]) end
local tokens, dollars, nanos = 0, 0, 0
if ends and live then tokens, dollars, nanos = release(c, drop) end

local answer = {1, now}
local count_levels = #KEYS - 3
for i = 1, count_levels do
  local s = open(got[2 + i], base, now)
  debit(s, more, drop, now)
  if ends and live then
    s[SLOTS] = s[SLOTS] - 1
    promise(s, -tokens, -dollars, -nanos)
    if what == 'settle' and i == count_levels then
      s[MEAN] = s[MEAN] + floor((now - c[16] - s[MEAN]) / 8)
    end
  end
  if counts then count(s, used[1], used[4], used[5], now) end
  answer[2 + i] = save(KEYS[3 + i], s)
end
if not ends then save_call(KEYS[3], c) end
write()
if ends then close_call(KEYS[2], KEYS[3], ARGV[4], ARGV[7]) end
return answer
