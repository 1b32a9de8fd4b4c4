"""How limits, needs and levels are written for the scripts, and read back.

All figures are little-endian doubles holding integers, exact to 2^53; money is dollars and nano-dollars.
The layouts are those of ``lua/level.lua``, ``lua/meter.lua`` and ``lua/call.lua``. A level that is read back
is an ordinary ``Level``: what a refusal says, and where a caller stands, is worked out by the same code as
in process.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from insula.governance.quota.bucket import UNIT, Bucket
from insula.governance.quota.budget import Budget
from insula.governance.quota.grant import Expiry
from insula.governance.quota.level import RATES, Level
from insula.governance.quota.limits import Limits
from insula.governance.quota.meter import HOUR_S, Meter, Use, windows_of
from insula.governance.quota.need import Amounts, Hard, Need
from insula.kernel.money import NANO_USD

MOST: Final = 2 * 10**15
"""No limit is larger (a budget and its overdraft), so an amount above it is as good as this one."""

_NEED = struct.Struct("<18d")
_LIMITS = struct.Struct("<16d")
_HELD = struct.Struct("<4d")
_USED = struct.Struct("<5d")
_HARD = struct.Struct("<3d")
_LEVEL = struct.Struct("<36d")
_RESTS = struct.Struct("<8d")
_ENTRY = struct.Struct("<5d")
_COUNT = struct.Struct("<d")
_GROUND = struct.Struct("<16s4d")
_SLOTS, _TOKENS, _DOLLARS, _NANOS, _MEAN, _EPOCH = range(24, 30)
_HOUR, _COUNTED = 31, 32
_HOUR_US = HOUR_S * 1_000_000


@dataclass(frozen=True, slots=True)
class Ground:
    """What stands above all records of a store: which one it is, and since when it can be believed."""

    generation: bytes
    epoch: int
    lost_us: int
    lost_epoch: int
    joined: int
    run: bytes

    @classmethod
    def read(cls, raw: bytes) -> Ground:
        generation, *figures = _GROUND.unpack_from(raw)
        epoch, lost, lost_epoch, joined = map(int, figures)
        return cls(generation, epoch, lost, lost_epoch, joined, raw[_GROUND.size :])


def write_need(need: Need, ttl_us: int, expiry: Expiry) -> bytes:
    """Return what a call needs, and what it is charged if nobody settles it."""
    estimate = need.estimate
    charge = estimate if expiry is Expiry.FULL_HOLD else need.charge
    return _NEED.pack(
        estimate[0], min(estimate[1], MOST), min(estimate[2], MOST), min(estimate[3], MOST),
        *_hard(need.cap), *_hard(need.want), *_hard(need.least),
        expiry is not Expiry.ZERO, min(charge[1], MOST), min(charge[2], MOST), min(charge[3], MOST), ttl_us,
    )  # fmt: skip


def write_limits(limits: Limits, books: int) -> bytes:
    """Return the limits of one level; a rate that is absent has capacity 0, another limit is -1.

    ``books`` is of how many gateways the books must be in; 0 if nothing reads what the level used.
    """
    figures: list[int] = []
    for measure in RATES:
        rate = getattr(limits, measure)
        figures += (0, 0) if rate is None else (getattr(limits, f"{measure}_burst") or rate, rate)
    figures.append(-1 if limits.in_flight is None else limits.in_flight)
    for tokens in (limits.tokens_per_day, limits.tokens_per_month):
        figures.append(-1 if tokens is None else tokens + (limits.overdraft_tokens or 0))
    for money in (limits.nanousd_per_day, limits.nanousd_per_month):
        figures += (-1, 0) if money is None else divmod(money, NANO_USD)
    return _LIMITS.pack(*figures, books)


def write_leased(limits: Limits, shards: int) -> bytes:
    """Return the platform's limits on one of several shards.

    Rates have what was leased, so no refill and no bound of their own; calls in flight are divided evenly.
    """
    figures: list[int] = []
    for measure in RATES:
        figures += (0, 0) if getattr(limits, measure) is None else (MOST, 0)
    figures.append(-1 if limits.in_flight is None else limits.in_flight // shards)
    return _LIMITS.pack(*figures, -1, -1, -1, 0, -1, 0, 0)


def write_used(used: Amounts) -> bytes:
    """Return what a call has used in all."""
    dollars, nanos = divmod(used.nanousd, NANO_USD)
    return _USED.pack(min(used.quota, MOST), min(used.input, MOST), min(used.output, MOST), dollars, nanos)


def write_held(hard: Hard, age_us: int) -> bytes:
    """Return what the budgets of a call that runs already hold, and since when."""
    return _HELD.pack(*_hard(hard), age_us)


def write_hard(hard: Hard) -> bytes:
    """Return what budgets are to hold, or to hold more."""
    return _HARD.pack(*_hard(hard))


def read_hard(raw: bytes) -> Hard:
    """Return what budgets hold."""
    tokens, dollars, nanos = _HARD.unpack(raw)
    return Hard(int(tokens), int(dollars) * NANO_USD + int(nanos))


def _hard(hard: Hard) -> tuple[int, int, int]:
    return (min(hard.quota, MOST), *divmod(hard.nanousd, NANO_USD))


def write_windows(rows: Iterable[tuple[int, Use]]) -> bytes:
    """Return what books say of hours: the latest hours, days and months, each with its sum."""
    parts = []
    for windows in windows_of(rows):
        parts.append(_COUNT.pack(len(windows)))
        parts += [_ENTRY.pack(number, *_sum(use)) for number, use in windows.items()]
    return b"".join(parts)


def read_level(
    name: str, key: str, limits: Limits, raw: bytes | None, ground: Ground, now_us: int, *, metered: bool
) -> tuple[Level, int]:
    """Return a level as the store has it, under ``limits``, and how long its own calls take (us)."""
    hour = now_us // _HOUR_US
    level = Level(name, key, limits, now_us, hour, Meter(hour) if metered else None)
    figures = [int(figure) for figure in _LEVEL.unpack_from(raw)] if raw else [0] * 36
    for number, measure in enumerate(RATES):
        bucket = level.buckets.get(measure)
        if bucket is not None:
            _restore(bucket, figures[number * 6 : number * 6 + 6], figures[_EPOCH], ground, now_us)
    if "in_flight" in level.buckets:
        level.buckets["in_flight"].pending = figures[_SLOTS] * UNIT
    if level.meter is not None and raw:
        _restore_meter(level.meter, figures[_HOUR], figures[_COUNTED:], raw[_LEVEL.size :])
        level.meter.at(hour)
    for budget in level.budgets.values():
        budget.pending = _promised(budget, figures)
    return level, figures[_MEAN] if raw else 1_000_000


def _promised(budget: Budget, figures: list[int]) -> int:
    if budget.kind == "quota":
        return figures[_TOKENS]
    return figures[_DOLLARS] * NANO_USD + figures[_NANOS]


def _restore(bucket: Bucket, figures: list[int], epoch: int, ground: Ground, now_us: int) -> None:
    """Take over what the store says of a bucket, then the limit in force: as ``lua/level.lua`` does."""
    capacity, rate, units, ticks, pending, stamp = figures
    bucket.pending = pending * UNIT
    if capacity == 0:
        if ground.lost_us:
            bucket.level, bucket.stamp_us = 0, ground.lost_us
        return
    wanted = bucket.capacity, bucket.rate
    bucket.capacity, bucket.rate = capacity * UNIT, rate
    bucket.level, bucket.stamp_us = units * UNIT + ticks, stamp
    if epoch != ground.epoch and rate:
        bucket.stamp_us = max(bucket.stamp_us, now_us + (-2 * capacity // rate) * UNIT)
        if epoch < ground.lost_epoch:
            bucket.level = min(bucket.level, 0)
            bucket.stamp_us = max(bucket.stamp_us, ground.lost_us)
    if wanted != (bucket.capacity, bucket.rate):
        bucket.resize(wanted[0] // UNIT, wanted[1], now_us, bucket.debt_cap // UNIT)


def _restore_meter(meter: Meter, hour: int, present: list[int], rest: bytes) -> None:
    meter.hour = hour
    meter.quota, meter.nanousd, meter.calls = _use(present)
    if not rest:
        return
    figures = [int(figure) for figure in _RESTS.unpack_from(rest)]
    meter.day, meter.month = _use(figures[:4]), _use(figures[4:])
    lists = _entries(rest, _RESTS.size)
    for windows in (meter._hours, meter._days, meter._months):
        windows.update(next(lists))


def _entries(raw: bytes, at: int) -> Iterator[dict[int, Use]]:
    for _ in range(3):
        count = 0
        if at < len(raw):
            count = int(_COUNT.unpack_from(raw, at)[0])
            at += _COUNT.size
        entries = [_ENTRY.unpack_from(raw, at + number * _ENTRY.size) for number in range(count)]
        at += count * _ENTRY.size
        yield {int(number): _use([int(figure) for figure in sums]) for number, *sums in entries}


def _use(figures: list[int]) -> Use:
    tokens, dollars, nanos, calls = figures
    return Use(tokens, dollars * NANO_USD + nanos, calls)


def _sum(use: Use) -> tuple[int, int, int, int]:
    dollars, nanos = divmod(use.nanousd, NANO_USD)
    return use.quota, dollars, nanos, use.calls
