-- Take in a part of what a gateway's books say. Told twice, it is the same.
--
-- KEYS ground, books. ARGV generation, clock, how long to keep it (s), then level and windows in turn. Answers 1,
-- 2 another store.

local now = clock(ARGV[2])
if not ground(redis.call('GET', KEYS[1]), ARGV[1]) then return {2, now} end
redis.call('HSET', KEYS[2], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[2], ARGV[3])
return {1, now}
