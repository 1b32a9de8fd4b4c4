-- Hold what a call needs on every level of its path, or nothing.
--
-- KEYS ground, index, call, levels. ARGV generation, clock, not after, need, id, path, limits.
-- Answers 1 admitted (what budgets hold, levels), 0 refused (levels), 2 another store, 3 books of gateways are
-- missing (how many are in), 4 too late to be asked.

local now = clock(ARGV[2])
local got = redis.call('MGET', KEYS[1], unpack(KEYS, 3))
local base = ground(got[1], ARGV[1])
if not base then return {2, now} end
local held = open_call(got[2])
if held and held[1] == LIVE then
  return {1, now, struct.pack('<ddd', held[9], held[10], held[11])}
end
if ARGV[3] ~= '' and now > tonumber(ARGV[3]) then return {4, now} end
local need = {struct.unpack(NEED, ARGV[4])}
local count = #KEYS - 3
if not read_books(got, KEYS, 3, ARGV[7], count, base, now) then return {3, now, base.joined} end

local levels = {}
local tokens, dollars, nanos = admit(got, ARGV[7], need, count, levels, base, now)
if not tokens then
  -- Perhaps only overdue calls stand in the way.
  local any, more, ended = false, true, nil
  while more do
    ended, more = expire_due(string.sub(KEYS[2], 1, -2), base, now)
    any = any or #ended > 0
  end
  if any then
    got = redis.call('MGET', KEYS[1], unpack(KEYS, 3))
    tokens, dollars, nanos = admit(got, ARGV[7], need, count, levels, base, now)
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
  answer[3 + i] = save(KEYS[3 + i], s)
end
save_call(KEYS[3], {LIVE, need[1], need[2], need[3], need[4], 0, 0, 0, tokens, dollars, nanos,
  need[14], need[15], need[16], need[17], now, expires, path = ARGV[6]})
write()
redis.call('ZADD', KEYS[2], expires, ARGV[5])
return answer
