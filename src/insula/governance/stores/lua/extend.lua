-- Raise what budgets hold for a running call, by what there is.
--
-- KEYS ground, index, call, levels. ARGV generation, clock, more (tokens, dollars, nano-dollars),
-- limits. Answers 1 (what budgets hold now, levels), 5 no such call, 2 another store. Nothing more while books
-- of gateways are missing.

local now = clock(ARGV[2])
local got = redis.call('MGET', KEYS[1], unpack(KEYS, 3))
local base = ground(got[1], ARGV[1])
if not base then return {2, now} end
local c = open_call(got[2])
if not c or c[1] ~= LIVE then return {5, now} end
local tokens, dollars, nanos = struct.unpack('<ddd', ARGV[3])
local count_levels = #KEYS - 3
local levels, room = {}, {}
if not read_books(got, KEYS, 3, ARGV[4], count_levels, base, now) then
  room = {tokens = 0, dollars = 0, nanos = 0}
end
for i = 1, count_levels do
  local l = limits_of(ARGV[4], i)
  levels[i] = open(got[2 + i], base, now)
  if l[BOOKS] > 0 then narrow(room, l, levels[i], now) end
end
if room.tokens then tokens = max(0, min(tokens, room.tokens)) end
if room.dollars then
  if room.dollars < 0 then room.dollars, room.nanos = 0, 0 end
  if less(room.dollars, room.nanos, dollars, nanos) then dollars, nanos = room.dollars, room.nanos end
end
c[9] = c[9] + tokens
c[10], c[11] = plus(c[10], c[11], dollars, nanos)
local answer = {1, now, struct.pack('<ddd', c[9], c[10], c[11])}
for i = 1, count_levels do
  promise(levels[i], tokens, dollars, nanos)
  answer[3 + i] = save(KEYS[3 + i], levels[i])
end
save_call(KEYS[3], c)
write()
return answer
