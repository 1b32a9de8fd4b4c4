"""The store of limits that many gateways share: one function per decision, on a Valkey or Redis server.

The gateway process holds no counters. It sends needs and limits, and reads back a decision and the levels'
records; what is said to callers is worked out from those by the same code as in process. See
``docs/shared-limits.md`` for what happens when the server is slow, away, restarted or replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Final

import structlog

from insula.governance.quota.grant import LATE_US, Expiry
from insula.governance.quota.limits import Limits
from insula.governance.quota.meter import NOTHING, Use, Window
from insula.governance.quota.need import Amounts, Hard, Need
from insula.governance.quota.standing import Standing
from insula.governance.scope import Scope
from insula.governance.stores.address import Address
from insula.governance.stores.books import Books, no_books
from insula.governance.stores.call import Call, State
from insula.governance.stores.contract import Ended, ReadBooks, Reserved
from insula.governance.stores.deciding import Deciding
from insula.governance.stores.exchange import Code, Exchange
from insula.governance.stores.fallback import Fallback, unavailable
from insula.governance.stores.known import Known
from insula.governance.stores.link import Contact, Link
from insula.governance.stores.membership import Membership
from insula.governance.stores.record import read_hard
from insula.governance.stores.telling import Telling
from insula.governance.stores.wire import ReplyError
from insula.kernel.clock import Clock, SystemClock
from insula.kernel.errors import Misconfigured

_log = structlog.get_logger()

TIMEOUT_S: Final = 0.25


class ValkeyStore:
    """``LimitStore`` of one gateway process. Owned by one event loop; ``start`` before use, ``stop`` after.

    ``limits_for`` and ``metered`` are as in ``Governor``. ``gateways`` is how many processes share the
    limits: each lets through that part of a rate while the store is away. ``divided`` says whether a ledger
    divides a tenant's token budget among its runs: that is done in process only, so calls of such runs are
    refused. ``books`` reads what was used before the store was met; a level with a budget admits nothing
    until the store has the books of ``gateways``. ``remember`` is a file that keeps which store was met, so
    that a loss is noticed after a restart too. ``shards`` is among how many servers tenants are spread
    (see ``ShardedStore``). ``now_us`` replaces the server's clock, in tests.
    """

    def __init__(
        self,
        address: Address,
        limits_for: Callable[[str], Limits],
        *,
        gateways: int = 1,
        metered: Callable[[str], bool] = lambda _key: False,
        divided: Callable[[str], bool] = lambda _tenant: False,
        books: ReadBooks = no_books,
        on_expiry: Expiry = Expiry.INPUT_ONLY,
        remember: FilePath | None = None,
        timeout_s: float = TIMEOUT_S,
        prefix: str = "insula:{0}:",
        shards: int = 1,
        clock: Clock | None = None,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._clock_us = clock.monotonic_us
        self._known = Known(prefix.encode(), limits_for, metered, gateways, shards)
        self.exchange = Exchange(prefix.encode(), self._known, on_expiry, self._clock_us, now_us)
        membership = Membership(remember, clock.now)
        self._books = Books(self.exchange, membership, books)
        self._telling = Telling(self.exchange, self._known, self._clock_us)
        self._outgoing = self._telling.outgoing
        self._deciding = Deciding(
            self.exchange,
            self._known,
            self._books,
            self._telling,
            within_us=int(timeout_s * 1_000_000),
            alone=lambda: Fallback(self._clock_us, self._known.limits, gateways),
        )
        self._calls = self._deciding.calls
        self.outages = self._deciding.outages
        self._link = self.exchange.link = Link(
            address,
            self.exchange.ground_key,
            timeout_s=timeout_s,
            membership=membership,
            clock=self.exchange.clock,
            on_up=self._up,
            on_down=self._down,
        )
        self._divided = divided
        self._real_time = now_us is None
        self._away_since_us: int | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._recalling: asyncio.Task[None] | None = None

    async def start(self, wait_s: float = 2.0) -> None:
        """Connect, for ``wait_s`` seconds at most; then go on without the store until it is there."""
        await self._link.start(wait_s)
        if not self.connected:
            self._down()
        if self._real_time:
            self._sweeper = asyncio.create_task(self._sweep(), name="limits-sweeper")

    def recall(self, ended: Sequence[Ended]) -> None:
        """Say which calls ended in an earlier life of this gateway; the store is told in the background."""
        self._recalling = asyncio.create_task(self._telling.recall(ended), name="limits-recall")

    async def stop(self, wait_s: float = 1.0) -> None:
        """Wait until the store has been told everything, for ``wait_s`` seconds at most; hang up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._outgoing.drained()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._recalling is not None:
            self._recalling.cancel()
        self._books.stop()
        await self._link.stop()

    @property
    def connected(self) -> bool:
        """Whether the store decides; otherwise this gateway does what it may alone."""
        return self.exchange.up

    @property
    def fail_open_s(self) -> float:
        """For how long this gateway decided alone, in all."""
        away = 0 if self._away_since_us is None else self._clock_us() - self._away_since_us
        return self.outages.fail_open_s + away / 1e6

    # What a gateway asks

    def reserve(self, scope: Scope, rid: str, need: Need, ttl_s: float = 600.0) -> asyncio.Future[Reserved]:
        """Hold what a call needs on every level, or nothing; see ``LimitStore`` for the errors."""
        now_us = self.exchange.server_us()
        call = self._calls.get(rid)
        if call is not None and call.expires_us > now_us:
            return call.answer
        call = Call(scope, rid, self._known.route(scope), need, int(ttl_s * 1_000_000), now_us)
        self._calls[rid] = call
        if need.run is not None and self._divided(scope.tenant):
            self._deciding.refuse(call, _undivided(scope.tenant))
        elif self._outgoing.full:
            self._deciding.close(call, unavailable("the store of limits is behind with what it was told"))
        else:
            self._deciding.ask(call)
        return call.answer

    def sent(self, rid: str) -> None:
        """The request went upstream."""
        call = self._calls.get(rid)
        if call is not None and not call.sent:
            if (alone := self._alone(call)) is not None:
                alone.sent(rid)
            self._telling.tell(call, "progress")

    def progress(self, rid: str, used: Amounts) -> None:
        """The call has used so much so far (cumulative; less is ignored)."""
        call = self._calls.get(rid)
        if call is not None:
            call.used = Amounts(*map(max, used, call.used))
            if (alone := self._alone(call)) is not None:
                alone.progress(rid, used)
            self._telling.tell(call, "progress")

    def extend(self, rid: str, more: Hard) -> asyncio.Future[Hard]:
        """Raise what the budgets hold by up to ``more``; what they hold now. Nothing more while away."""
        answer: asyncio.Future[Hard] = asyncio.get_running_loop().create_future()
        call = self._calls.get(rid)
        if call is None or call.state is State.LOCAL or not self.connected:
            answer.set_result(Hard() if call is None else call.hard)
            return answer

        def take(reply: object) -> None:
            found = self.exchange.read(reply)
            if found is not None and found[0] == Code.DONE:
                call.hard = read_hard(found[2])
                self._known.learn(call.route, found[3:])
            elif found is not None and found[0] == Code.UNKNOWN:
                call.hard = Hard()
            if not answer.done():
                answer.set_result(call.hard)

        self.exchange.extend(call, more, take)
        return answer

    def settle(self, rid: str, used: Amounts) -> None:
        """End the call at ``used`` in all. A second settle does nothing."""
        call = self._calls.pop(rid, None)
        if call is not None:
            call.used = used
            if (alone := self._alone(call)) is not None:
                alone.settle(rid, used)
            self._telling.tell(call, "settle")
            call.state = State.ENDED

    def cancel(self, rid: str) -> None:
        """Give back a reservation whose request was never sent."""
        call = self._calls.pop(rid, None)
        if call is not None:
            if (alone := self._alone(call)) is not None:
                alone.cancel(rid)
            if call.registered or call.sent:
                self._telling.tell(call, "cancel")
            call.state = State.ENDED

    def standing(self, scope: Scope) -> Standing:
        """Where a scope stood when the store last spoke of it, refilled since."""
        if self._deciding.fallback is not None:
            return self._deciding.fallback.standing(scope)
        if self._link.ground is None:
            return Standing(None, None)
        return self._known.standing(scope, self._link.ground, self.exchange.server_us())

    def strict(self, scope: Scope) -> bool:
        """Whether estimates must reserve all of ``max_tokens``."""
        return self._known.strict(scope, self._link.ground, self.exchange.server_us())

    def budgeted(self, scope: Scope) -> bool:
        """Whether any level of a scope has a calendar budget."""
        return self._known.budgeted(scope)

    def pays(self, scope: Scope) -> bool:
        """Whether any level of a scope has a budget of money."""
        return self._known.pays(scope)

    def ledgered(self, scope: Scope) -> bool:
        """No: ledgers of tenants are kept in process only, see ``divided``."""
        return False

    def queue_wait_s(self, scope: Scope) -> int | None:
        """How long a call that is refused for now may wait."""
        return self._known.queue_wait_s(scope)

    def used(self, key: str, window: Window) -> Use:
        """What a metered level used in the present window, as the store last said.

        Nothing if it said nothing yet; then it is asked, for next time.
        """
        if self._link.ground is None:
            return NOTHING
        if not self._known.heard_of(key):
            self._telling.adjust(key)
        return self._known.used(key, window, self._link.ground, self.exchange.server_us())

    def limits(self, key: str) -> Limits:
        """The limits in force at a level, in this gateway's configuration."""
        return self._known.limits(key)

    def set_limits(self, key: str, limits: Limits | None) -> None:
        """Change a level's limits from now on. Every gateway must be told; the store is told by each."""
        self._known.set_limits(key, limits)
        for call in self._calls.values():
            call.route = self._known.route(call.scope)
        if self._deciding.fallback is not None:
            self._deciding.fallback.set_limits(key)
        self._telling.adjust(key)

    def in_flight(self) -> int:
        """How many reservations of this process are running."""
        now_us = self.exchange.server_us()
        return sum(call.held and call.expires_us > now_us for call in self._calls.values())

    def knows(self, rid: str) -> bool:
        """Whether this process reserved for a call that has not ended."""
        return rid in self._calls

    async def expire(self) -> list[str]:
        """End the reservations whose time is up, whoever's they are; return their ids."""
        ended: list[str] = []
        more = True
        while more and self.connected:
            some, more = await self.exchange.expire()
            ended += some
        for rid in ended:
            _log.warning("reservation_expired", rid=rid)
        long_ago = self.exchange.server_us() - LATE_US
        for rid in [rid for rid, call in self._calls.items() if call.expires_us < long_ago]:
            del self._calls[rid]
        return ended

    def _alone(self, call: Call) -> Fallback | None:
        """Return who admitted a call that the store does not know yet."""
        return self._deciding.fallback if call.state is State.LOCAL else None

    # Coming and going

    def _up(self, contact: Contact) -> None:
        self.exchange.set_clock(contact.now_us)
        self.outages.fail_open_s = self.fail_open_s
        if self._away_since_us is not None:
            _log.info("limits_store_back", untold=len(self._outgoing))
        self._away_since_us = self._deciding.fallback = None
        self.outages.store_changed += contact.changed
        if contact.lost:
            self.outages.store_lost += 1
            self._known.forget()
            _log.warning("limits_store_lost", running=len(self._calls))
        self._telling.resume(contact, [call for call in self._calls.values() if call.held])
        if contact.changed or not self._books.told:
            self._books.tell()

    def _down(self) -> None:
        if self._away_since_us is None:
            self._away_since_us = self._clock_us()
            _log.warning("limits_store_away", running=len(self._calls))

    async def _sweep(self) -> None:
        """Once a second: end overdue calls, and look for levels to forget."""
        cursor = b"0"
        while True:
            await asyncio.sleep(1.0)
            if self._deciding.fallback is not None:
                self._deciding.fallback.expire()
            with contextlib.suppress(ConnectionError, ReplyError):
                await self.expire()
                if self.connected:
                    cursor = await self.exchange.tidy(cursor)


def _undivided(tenant: str) -> Misconfigured:
    return Misconfigured(
        f"runs of {tenant} share a token budget, and shared limits cannot divide one among runs",
        hint="give the tenant a budget in dollars instead, or keep limits in process: unset limits_store",
        field="limits_store",
    )
