-- Tell a level what changed: its limits, or what the books say of its windows. Only what exists changes
-- its limits; books are taken once.
--
-- KEYS ground, level. ARGV generation, clock, limits, meter or ''. Answers 1 (level), 3 the books are to be
-- read, 2 another store.

local now = clock(ARGV[2])
local got = redis.call('MGET', KEYS[1], KEYS[2])
local base = ground(got[1], ARGV[1])
if not base then return {2, now} end
local raw = got[2]
local limits = limits_of(ARGV[3], 1)
local known = raw and #raw > WIDTH
if not raw and ARGV[4] == '' then return {limits[BOOKS] == 1 and 3 or 1, now} end
local s = open(raw, base, now)
apply(s, limits, base, now)
local meter = known and string.sub(raw, WIDTH + 1) or (ARGV[4] ~= '' and ARGV[4]) or nil
local saved = save(KEYS[2], s, meter)
write()
if limits[BOOKS] == 1 and not meter then return {3, now, saved} end
return {1, now, saved}
