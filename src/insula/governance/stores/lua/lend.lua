-- At home, where the platform's buckets are: debit what a shard used, and hold what it may use next.
--
-- A lease is held like a call: its hold is pending until it is used or given up. One that is not renewed in
-- time is charged in full, since the shard may still use it; what was charged is paid for. KEYS ground, level,
-- leases. ARGV generation, clock, limits, shard, version, used, keep and want of each kind, time to live (us).
-- Answers 1 (what the shard may have used in all, of each kind; level), 0 a later report was here first,
-- 2 another store. A lease: version, expires at, paid and held of each kind.

local LEASE, FOUR = '<dddddddddd', '<dddd'
local now = clock(ARGV[2])
local got = redis.call('MGET', KEYS[1], KEYS[2])
local base = ground(got[1], ARGV[1])
if not base then return {2, now} end
local s = open(got[2], base, now)
local limits = limits_of(ARGV[3], 1)
apply(s, limits, base, now)

local function take(lease, amounts)
  local drop = {}
  for m = 1, 4 do drop[m] = min(amounts[m], lease[6 + m]) end
  debit(s, amounts, drop, now)
  for m = 1, 4 do
    lease[2 + m], lease[6 + m] = lease[2 + m] + amounts[m], lease[6 + m] - drop[m]
  end
end

local all = redis.call('HGETALL', KEYS[3])
local mine
for i = 1, #all, 2 do
  local lease = {struct.unpack(LEASE, all[i + 1])}
  if lease[2] <= now then
    take(lease, {lease[7], lease[8], lease[9], lease[10]})
    redis.call('HSET', KEYS[3], all[i], struct.pack(LEASE, unpack(lease, 1, 10)))
  end
  if all[i] == ARGV[4] then mine = lease end
end

local version = tonumber(ARGV[5])
local used, keep = {struct.unpack(FOUR, ARGV[6])}, {struct.unpack(FOUR, ARGV[7])}
if not mine then
  -- A lease that home forgot: what was used under it was counted before home was lost.
  mine = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
  if version > 1 then mine[3], mine[4], mine[5], mine[6] = used[1], used[2], used[3], used[4] end
end
local fresh_report = version > mine[1]
local granted = {}
if fresh_report then
  local want = {struct.unpack(FOUR, ARGV[8])}
  local more = {}
  for m = 1, 4 do more[m] = max(0, used[m] - mine[2 + m]) end
  take(mine, more)
  for m = 1, 4 do
    local b = m * 6 - 6
    local held = mine[6 + m]
    -- What was paid for and is not used yet needs no hold.
    local prepaid = mine[2 + m] - used[m]
    local floor_held = min(max(0, keep[m] - prepaid), held)
    local wanted = max(0, want[m] - prepaid)
    local free = limits[m * 2 - 1] > 0 and fresh(s, b, now) - s[b + 5] + held or 0
    local hold = max(min(wanted, free), floor_held)
    s[b + 5] = s[b + 5] + hold - held
    mine[6 + m] = hold
    granted[m] = mine[2 + m] + hold
  end
  mine[1], mine[2] = version, now + tonumber(ARGV[9])
  redis.call('HSET', KEYS[3], ARGV[4], struct.pack(LEASE, unpack(mine, 1, 10)))
end
local raw = save(KEYS[2], s)
write()
if not fresh_report then return {0, now} end
return {1, now, struct.pack(FOUR, unpack(granted)), raw}
