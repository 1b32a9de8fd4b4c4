"""Limits on several servers: tenants are spread over them, the platform's rates are leased.

All levels of a tenant are on one server, so every decision is still one script. Only the platform is above
them all: its rates are leased in small chunks (``leases.py``), its calls in flight are divided evenly, and a
budget of its own is refused, because a lease of money could be passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from insula.governance.quota.level import RATES
from insula.governance.quota.limits import Limits
from insula.governance.quota.meter import Use, Window
from insula.governance.quota.need import Amounts, Hard, Need
from insula.governance.quota.standing import Standing
from insula.governance.scope import PLATFORM, Scope
from insula.governance.stores.contract import Ended, ReadBooks, Reserved
from insula.governance.stores.fallback import Outages
from insula.governance.stores.leases import CHUNK_S, Lease, chunk, needed
from insula.governance.stores.valkey import ValkeyStore
from insula.kernel.errors import Misconfigured, RateLimited

_TRIES: Final = 3


class ShardedStore:
    """``LimitStore`` over several servers. Each tenant's is found by the CRC-32 of its name."""

    def __init__(self, shards: Sequence[ValkeyStore]) -> None:
        self.shards = tuple(shards)
        home = self.shards[0].exchange
        self._leases = {
            shard: Lease(home, shard.exchange, number) for number, shard in enumerate(self.shards)
        }
        self._renewing: asyncio.Task[None] | None = None

    async def start(self, wait_s: float = 2.0) -> None:
        """Connect to all servers; see ``ValkeyStore.start``."""
        await asyncio.gather(*(shard.start(wait_s) for shard in self.shards))
        self._renewing = asyncio.create_task(self._keep_renewing(), name="limits-leases")

    async def stop(self, wait_s: float = 1.0) -> None:
        """Tell the servers what is left to tell, and hang up."""
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
        await asyncio.gather(*(shard.stop(wait_s) for shard in self.shards))

    def recall(self, ended: Sequence[Ended]) -> None:
        """Say which calls ended in an earlier life of this gateway; see ``ValkeyStore.recall``."""
        for shard in self.shards:
            shard.recall([one for one in ended if self.shard(one.scope.tenant) is shard])

    def shard(self, tenant: str) -> ValkeyStore:
        """Return where a tenant's levels are."""
        return self.shards[_number(tenant, len(self.shards))]

    def reserve(self, scope: Scope, rid: str, need: Need, ttl_s: float = 600.0) -> asyncio.Future[Reserved]:
        """Hold what a call needs on every level; of the platform's rates, what its shard leased."""
        limits, shard = self.limits(PLATFORM), self.shard(scope.tenant)
        if limits.budgeted:
            refused: asyncio.Future[Reserved] = asyncio.get_running_loop().create_future()
            refused.set_exception(_no_budget())
            return refused
        if all(getattr(limits, rate) is None for rate in RATES):
            return shard.reserve(scope, rid, need, ttl_s)
        return asyncio.ensure_future(self._whole(shard, scope, rid, need, ttl_s))

    async def _whole(self, shard: ValkeyStore, scope: Scope, rid: str, need: Need, ttl_s: float) -> Reserved:
        try:
            return await self._with_lease(shard, scope, rid, need, ttl_s)
        except asyncio.CancelledError:  # perhaps after the store said yes
            shard.cancel(rid)
            raise

    async def _with_lease(
        self, shard: ValkeyStore, scope: Scope, rid: str, need: Need, ttl_s: float
    ) -> Reserved:
        """Reserve; if only the lease is short, lease what the call needs and reserve again."""
        try:
            return await shard.reserve(scope, rid, need, ttl_s)
        except RateLimited as error:
            if not _of_platform(error):
                raise
        lease = self._leases[shard]
        async with lease.lock:
            for _ in range(_TRIES):
                try:
                    return await shard.reserve(scope, rid, need, ttl_s)
                except RateLimited as error:
                    if not _of_platform(error):
                        raise
                    refused: Exception = error
                limits = self.limits(PLATFORM)
                if not await lease.renew(limits, chunk(limits, len(self.shards)), needed(need)):
                    refused = lease.refusal(limits, need) or refused
        raise refused

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(CHUNK_S)
            await self.renew()

    async def renew(self) -> None:
        """Report every shard's use at home, return what lies idle, lease the next chunk."""
        limits = self.limits(PLATFORM)
        if all(getattr(limits, rate) is None for rate in RATES):
            return
        spare = chunk(limits, len(self.shards))
        await asyncio.gather(*(lease.renew(limits, spare) for lease in self._leases.values()))

    def sent(self, rid: str) -> None:
        for shard in self._of(rid):
            shard.sent(rid)

    def progress(self, rid: str, used: Amounts) -> None:
        for shard in self._of(rid):
            shard.progress(rid, used)

    def extend(self, rid: str, more: Hard) -> asyncio.Future[Hard]:
        return next(self._of(rid), self.shards[0]).extend(rid, more)

    def settle(self, rid: str, used: Amounts) -> None:
        for shard in self._of(rid):
            shard.settle(rid, used)

    def cancel(self, rid: str) -> None:
        for shard in self._of(rid):
            shard.cancel(rid)

    def standing(self, scope: Scope) -> Standing:
        return self.shard(scope.tenant).standing(scope)

    def strict(self, scope: Scope) -> bool:
        return self.shard(scope.tenant).strict(scope)

    def budgeted(self, scope: Scope) -> bool:
        return self.shards[0].budgeted(scope)

    def pays(self, scope: Scope) -> bool:
        return self.shards[0].pays(scope)

    def ledgered(self, scope: Scope) -> bool:
        return False

    def queue_wait_s(self, scope: Scope) -> int | None:
        return self.shards[0].queue_wait_s(scope)

    def used(self, key: str, window: Window) -> Use:
        return self.shard(key.partition("/")[0]).used(key, window)

    def limits(self, key: str) -> Limits:
        return self.shards[0].limits(key)

    def set_limits(self, key: str, limits: Limits | None) -> None:
        for shard in self.shards:
            shard.set_limits(key, limits)

    def in_flight(self) -> int:
        return sum(shard.in_flight() for shard in self.shards)

    @property
    def connected(self) -> bool:
        """Whether every server decides."""
        return all(shard.connected for shard in self.shards)

    @property
    def fail_open_s(self) -> float:
        """Seconds decided alone, over all servers."""
        return sum(shard.fail_open_s for shard in self.shards)

    @property
    def outages(self) -> Outages:
        """What happened while servers were away, in all."""
        return Outages.total(shard.outages for shard in self.shards)

    def _of(self, rid: str) -> Iterator[ValkeyStore]:
        return (shard for shard in self.shards if shard.knows(rid))


def books_of(shard: int, shards: int, books: ReadBooks) -> ReadBooks:
    """Return the part of ``books`` that belongs on one of several servers."""

    async def read(until: float) -> dict[str, Sequence[tuple[int, Use]]]:
        used = await books(until)
        return {
            level: hours for level, hours in used.items() if _number(level.partition("/")[0], shards) == shard
        }

    return read


def _number(tenant: str, shards: int) -> int:
    return zlib.crc32(tenant.encode()) % shards


def _of_platform(error: RateLimited) -> bool:
    return error.details["level"] == "platform" and error.details["limit"] in RATES


def _no_budget() -> Misconfigured:
    return Misconfigured(
        "the platform has a budget, and limits are spread over several servers",
        hint="give budgets to tenants, or keep limits on one server",
        field="limits_store",
    )
