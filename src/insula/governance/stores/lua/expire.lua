-- End overdue calls, a bounded number at once.
--
-- KEYS ground, index. ARGV generation, clock. Answers 1 (whether there may be more, ids), 2 another store.

local now = clock(ARGV[2])
local base = ground(redis.call('GET', KEYS[1]), ARGV[1])
if not base then return {2, now} end
local ended, more = expire_due(string.sub(KEYS[2], 1, -2), base, now)
return {1, now, more and 1 or 0, unpack(ended)}
