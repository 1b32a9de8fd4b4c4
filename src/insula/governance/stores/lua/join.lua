-- A gateway told all that its books say: from now on they count. It joins once.
--
-- KEYS ground, list of those that joined. ARGV generation, clock, gateway, 1 only to ask whether it joined.
-- Answers 1 (whether it joined, how many have), 2 another store.

local now = clock(ARGV[2])
local raw = redis.call('GET', KEYS[1])
local base = ground(raw, ARGV[1])
if not base then return {2, now} end
for _, gateway in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  if gateway == ARGV[3] then return {1, now, 1, base.joined} end
end
if ARGV[4] == '1' then return {1, now, 0, base.joined} end
local joined = redis.call('RPUSH', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], string.sub(raw, 1, 40) .. struct.pack('<d', joined) .. string.sub(raw, 49))
return {1, now, 1, joined}
