-- One level: all its counters in one string of doubles.
--
-- Four rates, six figures each: capacity, per minute, level in whole units, ticks above that, pending,
-- stamp. A double is exact to 2^53, but a level in ticks needs 66 bits: so whole units and ticks are kept
-- apart, and a refill is split the same way. Then: calls in flight, pending tokens, pending dollars and
-- nano-dollars (budgets), how long calls take, epoch. Then what is counted: of how many gateways the books are
-- in (books.lua), the hour, and tokens, dollars, nano-dollars and calls of that hour. What else meter.lua keeps
-- follows as a string, which is empty until an hour is over or books are taken in.

local MINUTE, NANO = 60000000, 1000000000
local LEVEL, FIGURES, WIDTH = '<dddddddddddddddddddddddddddddddddddd', 36, 288
local SLOTS, TOKENS, DOLLARS, NANOS, MEAN, EPOCH = 25, 26, 27, 28, 29, 30
local JOINED, HOUR, USED, REST = 31, 32, 33, 37
local LIMITS = '<dddddddddddddddd'
local BOOKS, MOST_LIMITS = 16, 1000
local HOUR_US = 3600000000

-- While a library is loaded there is no `math`.
local function floor(x) return x - x % 1 end
local function min(x, y) return x < y and x or y end
local function max(x, y) return x > y and x or y end

-- What is to be written, key and value in turn: all of it at once, at the end of a decision.
local writes = {}

-- The time now; every decision begins with it. What an earlier one failed to write is forgotten.
local function clock(given)
  writes = {}
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- What stands above all records of this store (see hello.lua); nil if the caller knows another store.
local function ground(raw, generation)
  if not raw or string.sub(raw, 1, 16) ~= generation then return nil end
  local epoch, lost, lost_epoch, joined = struct.unpack('<dddd', raw, 17)
  return {epoch = epoch, lost = lost, lost_epoch = lost_epoch, joined = joined}
end

-- The server changed since this was written. Its clock may have jumped: believe it for what fills a
-- bucket twice. If the store was lost, count from then on, from nothing.
local function distrust(s, base, now)
  for b = 0, 18, 6 do
    local cap, rate = s[b + 1], s[b + 2]
    if cap > 0 then
      if rate > 0 then s[b + 6] = max(s[b + 6], now - -floor(-2 * cap / rate) * MINUTE) end
      if s[EPOCH] < base.lost_epoch then
        if s[b + 3] > 0 then s[b + 3], s[b + 4] = 0, 0 end
        s[b + 6] = max(s[b + 6], base.lost)
      end
    end
  end
  s[EPOCH] = base.epoch
end

local function open(raw, base, now)
  local s
  if raw then
    s = {struct.unpack(LEVEL, raw)}
    s[REST] = #raw > WIDTH and string.sub(raw, WIDTH + 1) or ''
    if s[EPOCH] ~= base.epoch then distrust(s, base, now) end
  else
    s = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1000000, base.epoch,
      0, floor(now / HOUR_US), 0, 0, 0, 0, ''}
  end
  return s
end

-- Whole units and ticks of the bucket at b, refilled up to now. Exact: a rate of n a minute is n ticks a
-- microsecond, and no product below exceeds 2^53.
local function fresh(s, b, now)
  local units, ticks, cap = s[b + 3], s[b + 4], s[b + 1]
  local elapsed = now - s[b + 6]
  if elapsed <= 0 or units >= cap then return units, ticks end
  local rate = s[b + 2]
  local us, slow = elapsed % MINUTE, rate % MINUTE
  local sum = ticks + us * slow
  ticks = sum % MINUTE
  units = units + (elapsed - us) / MINUTE * rate + us * ((rate - slow) / MINUTE) + (sum - ticks) / MINUTE
  if units >= cap then return cap, 0 end
  return units, ticks
end

-- Give the bucket at b the limit that the caller's configuration says. What was used stays used. Rate 0 is a
-- bucket that only leases fill (see lend.lua).
local function resize(s, b, cap, rate, base, now)
  if s[b + 1] == 0 then
    s[b + 3], s[b + 4], s[b + 6] = rate > 0 and cap or 0, 0, now
    if base.lost > 0 then s[b + 3], s[b + 6] = 0, base.lost end
  else
    s[b + 3], s[b + 4] = fresh(s, b, now)
    s[b + 6] = max(s[b + 6], now)
    if s[b + 3] >= cap then s[b + 3], s[b + 4] = cap, 0 end
    if rate == 0 and s[b + 3] > 0 then s[b + 3], s[b + 4] = 0, 0 end
  end
  s[b + 1], s[b + 2] = cap, rate
end

-- Limits of level number i as the caller's configuration says, out of those of the whole path: capacity and
-- rate of the four rates (capacity 0: no limit), calls in flight, tokens a day and a month, dollars and
-- nano-dollars a day and a month (-1: no limit), how many gateways' books must be in (0: nobody reads the meter).
-- The same limits come again and again, so they are read once; nobody may change them.
local read_limits, how_many = {}, 0

local function limits_of(raw, i)
  local part = string.sub(raw, i * 128 - 127, i * 128)
  local found = read_limits[part]
  if not found then
    if how_many == MOST_LIMITS then read_limits, how_many = {}, 0 end
    found = {struct.unpack(LIMITS, part)}
    read_limits[part], how_many = found, how_many + 1
  end
  return found
end

local function apply(s, limits, base, now)
  for b = 0, 18, 6 do
    local cap, rate = limits[b / 3 + 1], limits[b / 3 + 2]
    if cap > 0 and (s[b + 1] ~= cap or s[b + 2] ~= rate) then resize(s, b, cap, rate, base, now) end
  end
end

-- Take `more` of each of the four kinds from the levels, and `drop` from what is pending.
local function debit(s, more, drop, now)
  for m = 1, 4 do
    local b = m * 6 - 6
    local extra = more[m]
    if extra > 0 and s[b + 1] > 0 then
      local units, ticks = fresh(s, b, now)
      s[b + 3], s[b + 4] = units - extra, ticks
      if now > s[b + 6] then s[b + 6] = now end
    end
    s[b + 5] = s[b + 5] - drop[m]
  end
end

-- Add to what budgets hold (may be negative).
local function promise(s, tokens, dollars, nanos)
  s[TOKENS] = s[TOKENS] + tokens
  if dollars ~= 0 or nanos ~= 0 then
    local n = s[NANOS] + nanos
    local carry = floor(n / NANO)
    s[DOLLARS], s[NANOS] = s[DOLLARS] + dollars + carry, n - carry * NANO
  end
end

-- Put a level among what is to be written.
local function save(key, s)
  local raw = struct.pack(LEVEL, unpack(s, 1, FIGURES)) .. s[REST]
  local n = #writes
  writes[n + 1], writes[n + 2] = key, raw
  return raw
end

local function write()
  local all = writes
  writes = {}
  if #all > 0 then redis.call('MSET', unpack(all)) end
end
