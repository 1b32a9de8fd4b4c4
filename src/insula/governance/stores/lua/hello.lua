-- Say which store this is. What stands above all records: generation (16 bytes), epoch, lost at, epoch of
-- the loss, how many gateways joined (join.lua), then the server's run id. A new epoch begins when the server
-- changed.
--
-- KEYS ground. ARGV new generation, the generation known to the caller or '', run id, clock.
-- Answers ground, clock, whether what the caller knew is lost.

local raw, known = redis.call('GET', KEYS[1]), ARGV[2]
local now = clock(ARGV[4])
local generation, epoch, lost, lost_epoch, joined, run = ARGV[1], 1, 0, 0, 0, ARGV[3]
local gone = 0
if raw then
  generation = string.sub(raw, 1, 16)
  epoch, lost, lost_epoch, joined = struct.unpack('<dddd', raw, 17)
  if string.sub(raw, 49) ~= run then epoch = epoch + 1 end
end
if known ~= '' and known ~= generation then
  gone = 1
  if lost == 0 then
    epoch = epoch + 1
    lost, lost_epoch = now, epoch
  end
end
local ground_now = generation .. struct.pack('<dddd', epoch, lost, lost_epoch, joined) .. run
if ground_now ~= raw then redis.call('SET', KEYS[1], ground_now) end
return {ground_now, now, gone}
