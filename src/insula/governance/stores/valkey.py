"""The store of limits that many gateways share: one script per decision, on a Valkey or Redis server.

The gateway process holds no counters. It sends needs and limits, and reads back a decision and the levels'
records; what is said to callers is worked out from those by the same code as in process. See
``docs/shared-limits.md`` for what happens when the server is slow, away, restarted or replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any, Final

import structlog

from insula.governance.quota.grant import Expiry
from insula.governance.quota.limits import Limits
from insula.governance.quota.meter import HOUR_S, NOTHING, Use, Window
from insula.governance.quota.need import Amounts, Hard, Need
from insula.governance.quota.refusal import explain
from insula.governance.quota.standing import Standing
from insula.governance.scope import Scope
from insula.governance.stores.address import Address
from insula.governance.stores.books import Books, Seed, no_books
from insula.governance.stores.call import Call, Note, State, What
from insula.governance.stores.contract import Reserved
from insula.governance.stores.exchange import Code, Exchange
from insula.governance.stores.fallback import Fallback, Outages, unavailable
from insula.governance.stores.known import Known
from insula.governance.stores.link import Contact, Link
from insula.governance.stores.outgoing import Outgoing
from insula.governance.stores.record import read_hard
from insula.governance.stores.wire import GONE, ReplyError
from insula.kernel.clock import Clock, SystemClock
from insula.kernel.errors import EnforcementUnavailable, InsulaError, Misconfigured

_log = structlog.get_logger()

TIMEOUT_S: Final = 0.25
_TRIES: Final = 3
_HOUR_US: Final = HOUR_S * 1_000_000
_LATE_US: Final = _HOUR_US


class ValkeyStore:
    """``LimitStore`` of one gateway process. Owned by one event loop; ``start`` before use, ``stop`` after.

    ``limits_for`` and ``metered`` are as in ``Governor``. ``gateways`` is how many processes share the
    limits: each lets through that part of a rate while the store is away. ``divided`` says whether a ledger
    divides a tenant's token budget among its runs: that is done in process only, so calls of such runs are
    refused. ``seed`` reads the books for a level that has a budget and that the store does not know.
    ``on_lost`` is called when the counters were lost. ``remember`` is a file that keeps which store was met,
    so that a loss is noticed after a restart too. ``shards`` is among how many servers tenants are spread
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
        seed: Seed = no_books,
        on_lost: Callable[[], None] = lambda: None,
        on_expiry: Expiry = Expiry.INPUT_ONLY,
        remember: FilePath | None = None,
        timeout_s: float = TIMEOUT_S,
        prefix: str = "insula:{0}:",
        shards: int = 1,
        clock: Clock | None = None,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        self.outages = Outages()
        self._clock_us = (clock or SystemClock()).monotonic_us
        self._known = Known(prefix.encode(), limits_for, metered, shards)
        self.exchange = Exchange(prefix.encode(), self._known, on_expiry, self._clock_us, now_us)
        self._books = Books(self.exchange, self._known, seed)
        self._outgoing = Outgoing(self._clock_us, self._transmit)
        self._link = self.exchange.link = Link(
            address,
            self.exchange.ground_key,
            timeout_s=timeout_s,
            remember=remember,
            clock=self.exchange.clock,
            on_up=self._up,
            on_down=self._down,
        )
        self._gateways = gateways
        self._divided = divided
        self._on_lost = on_lost
        self._within_us = int(timeout_s * 1_000_000)
        self._real_time = now_us is None
        self._calls: dict[str, Call] = {}
        self._fallback: Fallback | None = None
        self._away_since_us: int | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, wait_s: float = 2.0) -> None:
        """Connect, for ``wait_s`` seconds at most; then go on without the store until it is there."""
        await self._link.start(wait_s)
        if not self.connected:
            self._down()
        if self._real_time:
            self._sweeper = asyncio.create_task(self._sweep(), name="limits-sweeper")

    async def stop(self, wait_s: float = 1.0) -> None:
        """Wait until the store has been told everything, for ``wait_s`` seconds at most; hang up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._outgoing.drained()
        if self._sweeper is not None:
            self._sweeper.cancel()
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
            self._refuse(call, _undivided(scope.tenant))
        elif self._outgoing.full:
            self._refuse(call, unavailable("the store of limits is behind with what it was told"))
        else:
            self._ask(call)
        return call.answer

    def sent(self, rid: str) -> None:
        """The request went upstream."""
        call = self._calls.get(rid)
        if call is not None and not call.sent:
            if self._fallback is not None and call.state is State.LOCAL:
                self._fallback.sent(rid)
            self._tell(call, "progress")

    def progress(self, rid: str, used: Amounts) -> None:
        """The call has used so much so far (cumulative; less is ignored)."""
        call = self._calls.get(rid)
        if call is not None:
            call.used = Amounts(*map(max, used, call.used))
            if self._fallback is not None and call.state is State.LOCAL:
                self._fallback.progress(rid, used)
            self._tell(call, "progress")

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
            if self._fallback is not None and call.state is State.LOCAL:
                self._fallback.settle(rid, used)
            self._tell(call, "settle")
            call.state = State.ENDED

    def cancel(self, rid: str) -> None:
        """Give back a reservation whose request was never sent."""
        call = self._calls.pop(rid, None)
        if call is not None:
            if self._fallback is not None and call.state is State.LOCAL:
                self._fallback.cancel(rid)
            if call.registered or call.sent:
                self._tell(call, "cancel")
            call.state = State.ENDED

    def standing(self, scope: Scope) -> Standing:
        """Where a scope stood when the store last spoke of it, refilled since."""
        if self._fallback is not None:
            return self._fallback.standing(scope)
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

    def queue_wait_s(self, scope: Scope) -> int:
        """How long a call that is refused for now may wait."""
        return self._known.queue_wait_s(scope)

    def used(self, key: str, window: Window) -> Use:
        """What a metered level used in the present window, as the store last said.

        Nothing if it said nothing yet; then it is asked, for next time.
        """
        if self._link.ground is None:
            return NOTHING
        if not self._known.heard_of(key):
            self._books.adjust(key)
        return self._known.used(key, window, self._link.ground, self.exchange.server_us())

    def limits(self, key: str) -> Limits:
        """The limits in force at a level, in this gateway's configuration."""
        return self._known.limits(key)

    def set_limits(self, key: str, limits: Limits | None) -> None:
        """Change a level's limits from now on. Every gateway must be told; the store is told by each."""
        self._known.set_limits(key, limits)
        for call in self._calls.values():
            call.route = self._known.route(call.scope)
        if self._fallback is not None:
            self._fallback.set_limits(key)
        self._books.adjust(key)

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
        long_ago = self.exchange.server_us() - _LATE_US
        for rid in [rid for rid, call in self._calls.items() if call.expires_us < long_ago]:
            del self._calls[rid]
        return ended

    # Decisions

    def _ask(self, call: Call) -> None:
        call.tries += 1
        if self.connected:
            self.exchange.reserve(call, self._within_us, lambda reply: self._answer(call, reply))
        else:
            self._alone(call)

    def _answer(self, call: Call, reply: object) -> None:
        found = self.exchange.read(reply)
        code = None if found is None else Code(found[0])
        if found is not None and code is Code.DONE:
            self._admit(call, found)
        elif found is not None and code is Code.REFUSED:
            self._known.learn(call.route, found[2:])
            self._refuse(call, self._explain(call, found[1]))
        elif found is not None and code is Code.UNREAD and call.tries < _TRIES:
            self._read_books(call, [call.route.levels[number - 1][1] for number in found[2:]])
        elif (code is Code.LATE or isinstance(reply, ReplyError)) and call.tries < _TRIES and self.connected:
            self._ask(call)
        else:
            self._withdraw(call)

    def _admit(self, call: Call, found: list[Any]) -> None:
        self._known.learn(call.route, found[3:])
        if call.answer.cancelled() or call.state is State.ENDED:
            self._calls.pop(call.rid, None)
            self._tell(call, "cancel")
        else:
            call.admit(read_hard(found[2]), State.HELD)

    def _explain(self, call: Call, now_us: int) -> Exception:
        assert self._link.ground is not None
        path = self._known.path(call.route, self._link.ground, now_us)
        try:
            return explain(path, call.need, now_us, now_us // _HOUR_US).error()
        except StopIteration:  # the records say otherwise: the limits were changed meanwhile
            return unavailable("limits are being changed")

    def _refuse(self, call: Call, error: Exception) -> None:
        if self._calls.get(call.rid) is call:
            del self._calls[call.rid]
        call.refuse(error)

    def _read_books(self, call: Call, keys: list[str]) -> None:
        def then(done: asyncio.Future[list[bool]]) -> None:
            error = None if done.cancelled() else done.exception()
            if isinstance(error, InsulaError):
                self.outages.failed_closed += 1
                self._refuse(call, error)
            else:
                self._ask(call)

        self._books.sow(keys).add_done_callback(then)

    def _withdraw(self, call: Call) -> None:
        """No answer came: whatever the store made of it is taken back, and this gateway decides alone."""
        self._tell(call, "cancel")
        if call.answer.cancelled() or call.state is State.ENDED:
            self._calls.pop(call.rid, None)
        elif self.connected:
            self.outages.failed_closed += 1
            self._refuse(call, unavailable("the store of limits gives no answer"))
        else:
            self._alone(call)

    def _alone(self, call: Call) -> None:
        """Decide without the store, which will know the call by a name of its own."""
        if self._fallback is None:
            self._fallback = Fallback(self._clock_us, self._known.limits, self._gateways)
        try:
            grant = self._fallback.reserve(call.scope, call.rid, call.need, call.ttl_us / 1e6)
        except InsulaError as error:
            closed = isinstance(error, EnforcementUnavailable)
            self.outages.failed_closed += closed
            self.outages.failed_open += not closed
            self._refuse(call, error)
            return
        self.outages.failed_open += 1
        call.name = call.rid.encode() + b"~alone"
        call.registered = False
        call.admit(grant.hard, State.LOCAL)

    # What the store is told

    def _tell(self, call: Call, what: What) -> None:
        if what != "cancel":
            call.sent = True
        self._outgoing.tell(call, what, self.exchange.moment_us(), up=self.connected)

    def _transmit(self, note: Note) -> None:
        if not self.connected:
            return
        if not note.call.registered and note.name == note.call.name:
            self._register(note.call)
        self.exchange.settle(note, lambda reply: self._told(note, reply))

    def _told(self, note: Note, reply: object) -> None:
        found = self.exchange.read(reply)
        if found is None:
            if reply is not GONE and self.connected:
                self._outgoing.again_or_never(note, str(reply))
        elif found[0] != Code.OTHER_STORE:
            self._known.learn(note.call.route, found[2:])
            self._outgoing.acknowledge(note, up=self.connected)

    def _register(self, call: Call) -> None:
        def take(reply: object) -> None:
            found = self.exchange.read(reply)
            if found is not None and found[0] == Code.DONE:
                call.registered = True
                self._known.learn(call.route, found[2:])

        self.exchange.register(call, take)

    # Coming and going

    def _up(self, contact: Contact) -> None:
        self.exchange.set_clock(contact.now_us)
        self.outages.fail_open_s = self.fail_open_s
        if self._away_since_us is not None:
            _log.info("limits_store_back", untold=len(self._outgoing))
        self._away_since_us = self._fallback = None
        self.outages.store_changed += contact.changed
        if contact.lost:
            self.outages.store_lost += 1
            self._known.forget()
            _log.warning("limits_store_lost", running=len(self._calls))
            self._on_lost()
        running = [call for call in self._calls.values() if call.held]
        for call in running:
            if call.state is State.LOCAL or contact.changed:
                call.state, call.registered = State.HELD, False
        for note in self._outgoing.again(changed=contact.changed, lost=contact.lost):
            self._outgoing.transmit(note)
        for call in running:
            if not call.registered and call.name not in self._outgoing:
                self._tell(call, "progress") if call.sent else self._register(call)

    def _down(self) -> None:
        if self._away_since_us is None:
            self._away_since_us = self._clock_us()
            _log.warning("limits_store_away", running=len(self._calls))

    async def _sweep(self) -> None:
        """Once a second: end overdue calls, and look for levels to forget."""
        cursor = b"0"
        while True:
            await asyncio.sleep(1.0)
            if self._fallback is not None:
                self._fallback.expire()
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
