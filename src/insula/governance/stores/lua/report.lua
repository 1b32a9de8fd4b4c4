-- On a shard: how much of the platform's lease was used, and give up what lies idle.
--
-- The shard may use what it was granted in all; its bucket holds what is left of that. So granted less left
-- is used. What runs keeps what it holds; of the rest at most `spare` stays, and nothing if nothing happened
-- since the last report. KEYS ground, level, lease. ARGV generation, clock, limits, spare of each kind.
-- Answers 1 (version, used, left, pending, wanted), 2 another store. A lease: version, granted and last used of each kind.

local LEASE, FOUR = '<ddddddddd', '<dddd'
local now = clock(ARGV[2])
local got = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3])
local base = ground(got[1], ARGV[1])
if not base then return {2, now} end
local s = open(got[2], base, now)
apply(s, limits_of(ARGV[3], 1), base, now)
local lease = got[3] and {struct.unpack(LEASE, got[3])} or {0, 0, 0, 0, 0, 0, 0, 0, 0}
local spare = {struct.unpack(FOUR, ARGV[4])}
local used, left, pending, wanted = {}, {}, {}, {}
for m = 1, 4 do
  local b = m * 6 - 6
  used[m] = lease[1 + m] - s[b + 3]
  local stays = used[m] == lease[5 + m] and s[b + 5] or s[b + 5] + spare[m]
  if s[b + 3] > stays then
    lease[1 + m] = lease[1 + m] - (s[b + 3] - stays)
    s[b + 3] = stays
  end
  left[m], pending[m], wanted[m], lease[5 + m] = s[b + 3], s[b + 5], stays, used[m]
end
lease[1] = lease[1] + 1
save(KEYS[2], s)
write()
redis.call('SET', KEYS[3], struct.pack(LEASE, unpack(lease, 1, 9)))
local function packed_four(list) return struct.pack(FOUR, unpack(list)) end
return {1, now, lease[1], packed_four(used), packed_four(left), packed_four(pending),
  packed_four(wanted)}
