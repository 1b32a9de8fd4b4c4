-- On a shard: take in what home granted, unless a later report was made meanwhile.
--
-- KEYS ground, level, lease. ARGV generation, clock, limits, version, granted of each kind.
-- Answers 1, 0 too late, 2 another store.

local LEASE, FOUR = '<ddddddddd', '<dddd'
local now = clock(ARGV[2])
local got = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3])
local base = ground(got[1], ARGV[1])
if not base then return {2, now} end
local lease = got[3] and {struct.unpack(LEASE, got[3])}
if not lease or lease[1] ~= tonumber(ARGV[4]) then return {0, now} end
local s = open(got[2], base, now)
apply(s, limits_of(ARGV[3], 1), base, now)
local granted = {struct.unpack(FOUR, ARGV[5])}
for m = 1, 4 do
  local b = m * 6 - 6
  local more = granted[m] - lease[1 + m]
  if more > 0 then s[b + 3], lease[1 + m] = s[b + 3] + more, granted[m] end
end
save(KEYS[2], s)
write()
redis.call('SET', KEYS[3], struct.pack(LEASE, unpack(lease, 1, 9)))
return {1, now}
