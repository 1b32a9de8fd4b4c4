-- Tell a level of its limits, and let it take in the books if its meter is to be read. Else only what exists
-- changes.
--
-- KEYS ground, level. ARGV generation, clock, limits. Answers 1 (level, if there is one), 3 books of gateways
-- are missing, 2 another store.

local now = clock(ARGV[2])
local got = redis.call('MGET', KEYS[1], KEYS[2])
local base = ground(got[1], ARGV[1])
if not base then return {2, now} end
got = {got[1], false, got[2]}
local ready = read_books(got, KEYS, 1, ARGV[3], 1, base, now)
local saved = got[3]
if saved then
  local s = open(saved, base, now)
  apply(s, limits_of(ARGV[3], 1), base, now)
  saved = save(KEYS[2], s)
  write()
end
return {ready and 1 or 3, now, saved}
