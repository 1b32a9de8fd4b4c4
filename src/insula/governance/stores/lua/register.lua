-- Take in a call that runs already: one admitted while the store was away, or one the store forgot.
--
-- It is held without being asked for, so it may leave a debt. A call that is known, or was until lately,
-- changes nothing. KEYS ground, index, call, levels. ARGV generation, clock, need, held (tokens,
-- dollars, nano-dollars of budgets, age in us), id, path, limits. Answers 1 (levels), 2 another store.

local now = clock(ARGV[2])
local got = redis.call('MGET', KEYS[1], unpack(KEYS, 3))
local base = ground(got[1], ARGV[1])
if not base then return {2, now} end
if got[2] then return {1, now} end
local need = {struct.unpack('<dddddddddddddddddd', ARGV[3])}
local tokens, dollars, nanos, age = struct.unpack('<dddd', ARGV[4])
local expires = max(now, now - age + need[18])
local c = {LIVE, need[1], need[2], need[3], need[4], 0, 0, 0, tokens, dollars, nanos,
  need[14], need[15], need[16], need[17], now - age, expires, path = ARGV[6]}
local answer = {1, now}
for i = 1, #KEYS - 3 do
  local s = open(got[2 + i], base, now)
  apply(s, limits_of(ARGV[7], i), base, now)
  for m = 1, 4 do s[m * 6 - 1] = s[m * 6 - 1] + need[m] end
  s[SLOTS] = s[SLOTS] + 1
  promise(s, tokens, dollars, nanos)
  answer[2 + i] = save(KEYS[3 + i], s)
end
save_call(KEYS[3], c)
write()
redis.call('ZADD', KEYS[2], expires, ARGV[5])
return answer
