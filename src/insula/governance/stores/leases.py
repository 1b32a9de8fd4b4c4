"""The platform's rates over several shards: each shard leases a little of them from home, and returns it.

Home is the first server. It holds what a shard leased as it holds a call: pending until used. A shard reports
what it used, gives up what lies idle and asks for the next half second of its part, or for what one call
needs. Reports are numbered by the shard, so whoever makes them, and whatever overtakes what, an old one is
ignored. Use is debited at home when it is reported, so the platform may pass its bound by what is leased at
the moment, and by no more (chunk leases, see docs/shared-limits.md).
"""

from __future__ import annotations

import asyncio
import struct
from typing import Final

from insula.governance.quota.bucket import UNIT
from insula.governance.quota.level import RATES, Path
from insula.governance.quota.limits import Limits
from insula.governance.quota.meter import HOUR_S
from insula.governance.quota.need import Need
from insula.governance.quota.refusal import explain
from insula.governance.scope import PLATFORM
from insula.governance.stores.exchange import Code, Exchange
from insula.governance.stores.record import read_level, write_limits
from insula.governance.stores.scripts import BORROW, REPORT

CHUNK_S: Final = 0.5
"""Seconds of a shard's even part of a rate that it keeps at hand."""

TTL_US: Final = 10_000_000
"""A lease that is not renewed for so long is charged in full."""

_FOUR = struct.Struct("<4d")
Four = tuple[int, int, int, int]
NOTHING: Final[Four] = (0, 0, 0, 0)


def chunk(limits: Limits, shards: int) -> Four:
    """Return what one of so many shards keeps at hand of each rate."""
    figures = [int((getattr(limits, rate) or 0) * CHUNK_S / 60 / shards) for rate in RATES]
    return figures[0], figures[1], figures[2], figures[3]


def needed(need: Need) -> Four:
    """Return what one call needs of each rate."""
    return need.estimate.requests, need.estimate.quota, need.estimate.input, need.estimate.output


class Lease:
    """One shard's lease, as one gateway renews it. Any number of gateways may.

    ``home`` keeps the platform's buckets, ``shard`` spends what it leased.
    """

    def __init__(self, home: Exchange, shard: Exchange, number: int) -> None:
        self._home = home
        self._shard = shard
        self._number = number
        self._record: bytes | None = None
        self._idle = list(NOTHING)
        self.lock = asyncio.Lock()

    async def renew(self, limits: Limits, spare: Four, need: Four = NOTHING) -> bool:
        """Report, and lease up to ``spare`` beyond what runs, at least ``need``; whether ``need`` is there.

        ``False`` too if either server is away, or another gateway reported meanwhile.
        """
        ground = self._shard.link.ground
        report = await self._shard.lease(REPORT, _FOUR.pack(*spare))
        if ground is None or report is None or report[0] != Code.DONE:
            return False
        version, used, left = b"%d" % report[2], report[3], report[4]
        pending, wanted = _read(report[5]), _read(report[6])
        want = [max(held + some, few) for held, some, few in zip(pending, need, wanted, strict=True)]
        name = b"%d:%b" % (self._number, ground.generation)
        lent = await self._home.lend(
            write_limits(limits, books=0), name, version, used, left, _FOUR.pack(*want), b"%d" % TTL_US
        )
        if lent is None or lent[0] != Code.DONE:
            return False
        free = [
            granted - spent - held
            for granted, spent, held in zip(_read(lent[2]), _read(used), pending, strict=True)
        ]
        self._record, self._idle = lent[3], free
        taken = await self._shard.lease(BORROW, version, lent[2])
        if taken is None or taken[0] != Code.DONE:
            return False
        return all(some <= enough for some, enough in zip(need, free, strict=True) if some)

    def refusal(self, limits: Limits, need: Need) -> Exception | None:
        """Return why home could not lease what a call needs; ``None`` if it could now.

        What this shard leased and does not use stands in nobody's way.
        """
        ground, now_us = self._home.link.ground, self._home.server_us()
        if ground is None:
            return None
        level, _ = read_level("platform", PLATFORM, limits, self._record, ground, now_us, metered=False)
        level.buckets.pop("in_flight", None)
        for rate, idle in zip(RATES, self._idle, strict=True):
            if rate in level.buckets:
                level.buckets[rate].release(max(0, idle) * UNIT)
        if all(
            bucket.free(now_us) >= need.estimate[number] * UNIT
            for number, rate in enumerate(RATES)
            if (bucket := level.buckets.get(rate)) is not None
        ):
            return None
        return explain(Path(PLATFORM, (level,)), need, now_us, now_us // (HOUR_S * 1_000_000)).error()


def _read(figures: bytes) -> list[int]:
    return [int(figure) for figure in _FOUR.unpack(figures)]
