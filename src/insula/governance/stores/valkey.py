"""The store of limits that many gateways share: one script per decision, on a Valkey or Redis server.

The gateway process holds no counters. It sends needs and limits, and reads back a decision and the levels'
records; what is said to callers is worked out from those by the same code as in process. See
``docs/shared-limits.md`` for what happens when the server is slow, away, restarted or replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path as FilePath
from typing import Any, Final

import structlog

from insula.governance.quota.grant import Expiry
from insula.governance.quota.limits import Limits
from insula.governance.quota.meter import HOUR_S, NOTHING, Meter, Use, Window
from insula.governance.quota.need import Amounts, Hard, Need
from insula.governance.quota.refusal import explain
from insula.governance.quota.standing import Standing
from insula.governance.scope import Scope
from insula.governance.stores.address import Address
from insula.governance.stores.call import Call, Note, State, What
from insula.governance.stores.fallback import Fallback, Outages, unavailable
from insula.governance.stores.known import Known
from insula.governance.stores.link import Contact, Link
from insula.governance.stores.outgoing import MARK_MS, Outgoing
from insula.governance.stores.record import (
    read_hard,
    write_hard,
    write_held,
    write_meter,
    write_need,
    write_used,
)
from insula.governance.stores.scripts import ADJUST, ALL, EXPIRE, EXTEND, REGISTER, RESERVE, SETTLE
from insula.governance.stores.wire import GONE, ReplyError, bulk
from insula.kernel.clock import Clock, SystemClock

_log = structlog.get_logger()

TIMEOUT_S: Final = 0.25
_ADMITTED, _REFUSED, _OTHER_STORE, _UNREAD, _LATE, _UNKNOWN = 1, 0, 2, 3, 4, 5
_HOUR_US: Final = HOUR_S * 1_000_000
_LATE_US: Final = 3_600_000_000
_NO_CLOCK: Final = b""

Rows = Iterable[tuple[int, Use]]
Seed = Callable[[str], Awaitable[Rows]]
"""Asks the books what a level used, ``(hour, use)``. Everything that ended must be in them by then."""


async def _no_books(_key: str) -> Rows:
    return ()


class ValkeyStore:
    """``LimitStore`` of one gateway process. Owned by one event loop; ``start`` before use, ``stop`` after.

    ``limits_for`` and ``metered`` are as in ``Governor``. ``gateways`` is how many processes share the
    limits: each lets through that part of a rate while the store is away. ``seed`` reads the books for a
    level that has a budget and that the store does not know. ``on_lost`` is called when the counters were
    lost. ``remember`` is a file that keeps which store was met, so that a loss is noticed after a restart
    too. ``now_us`` replaces the server's clock, in tests.
    """

    def __init__(
        self,
        address: Address,
        limits_for: Callable[[str], Limits],
        *,
        gateways: int = 1,
        metered: Callable[[str], bool] = lambda _key: False,
        seed: Seed = _no_books,
        on_lost: Callable[[], None] = lambda: None,
        on_expiry: Expiry = Expiry.INPUT_ONLY,
        remember: FilePath | None = None,
        timeout_s: float = TIMEOUT_S,
        prefix: str = "insula:{0}:",
        clock: Clock | None = None,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        self.outages = Outages()
        self._clock_us = (clock or SystemClock()).monotonic_us
        self._prefix = prefix.encode()
        self._known = Known(self._prefix, limits_for, metered)
        self._gateways = gateways
        self._seed = seed
        self._on_lost = on_lost
        self._on_expiry = on_expiry
        self._remember = remember
        self._timeout_us = int(timeout_s * 1_000_000)
        self._now_us = now_us
        self._offset_us = 0
        self._calls: dict[str, Call] = {}
        self._outgoing = Outgoing(self._clock_us, self._transmit)
        self._fallback: Fallback | None = None
        self._away_since_us: int | None = None
        self._seeding: dict[str, asyncio.Task[bool]] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._base = bulk(self._prefix + b"m", self._prefix + b"x")
        self._link = Link(
            address,
            self._prefix + b"m",
            timeout_s=timeout_s,
            known=self._remembered(),
            now=self._clock,
            on_up=self._up,
            on_down=self._down,
        )

    async def start(self, wait_s: float = 2.0) -> None:
        """Connect, for ``wait_s`` seconds at most; then go on without the store until it is there."""
        await self._link.start(wait_s)
        if self._link.wire is None and self._away_since_us is None:
            self._down()
        self._sweeper = asyncio.create_task(self._sweep(), name="limits-sweeper")

    async def stop(self, wait_s: float = 1.0) -> None:
        """Wait until the store has been told everything, for ``wait_s`` seconds at most; hang up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._outgoing.drained()
        for task in (self._sweeper, *self._seeding.values()):
            if task is not None:
                task.cancel()
        await self._link.stop()

    # What a gateway asks

    def reserve(self, scope: Scope, rid: str, need: Need, ttl_s: float = 600.0) -> asyncio.Future[Call]:
        """Hold what a call needs on every level, or nothing; see ``LimitStore`` for the errors."""
        now_us = self.server_us()
        call = self._calls.get(rid)
        if call is not None and call.expires_us > now_us:
            return call.answer
        call = Call(scope, rid, self._known.route(scope), need, int(ttl_s * 1_000_000), now_us)
        self._calls[rid] = call
        if self._outgoing.full:
            self._refuse(call, unavailable("the store of limits is behind with what it was told"))
        elif self._link.wire is None:
            self._alone(call)
        else:
            self._ask(call)
        return call.answer

    def sent(self, rid: str) -> None:
        """The request went upstream."""
        call = self._calls.get(rid)
        if call is not None and not call.sent:
            call.sent = True
            if self._fallback is not None and call.state is State.LOCAL:
                self._fallback.sent(rid)
            self._tell(call, "progress")

    def progress(self, rid: str, used: Amounts) -> None:
        """The call has used so much so far (cumulative; less is ignored)."""
        call = self._calls.get(rid)
        if call is not None:
            call.sent = True
            call.used = Amounts(*map(max, used, call.used))
            if self._fallback is not None and call.state is State.LOCAL:
                self._fallback.progress(rid, used)
            self._tell(call, "progress")

    def extend(self, rid: str, more: Hard) -> asyncio.Future[Hard]:
        """Raise what the budgets hold by up to ``more``; what they hold now. Nothing more while away."""
        answer: asyncio.Future[Hard] = asyncio.get_running_loop().create_future()
        call = self._calls.get(rid)
        wire = self._link.wire
        if call is None or call.state is State.LOCAL or wire is None:
            answer.set_result(Hard() if call is None else call.hard)
            return answer

        def take(reply: object) -> None:
            found = self._read(reply)
            if found and found[0] == _ADMITTED:
                call.hard = read_hard(found[2])
                self._known.learn(call.route, found[3:])
            elif found:
                call.hard = Hard()
            if not answer.done():
                answer.set_result(call.hard)

        count = len(call.route.levels)
        head = EXTEND.head(3 + count, 3 + count)
        wire.send(head + self._keys(call) + self._ground() + bulk(write_hard(more)) + call.route.limits, take)
        return answer

    def settle(self, rid: str, used: Amounts) -> None:
        """End the call at ``used`` in all. A second settle does nothing."""
        call = self._calls.pop(rid, None)
        if call is not None:
            call.sent = True
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
        return self._known.standing(scope, self._link.ground, self.server_us())

    def strict(self, scope: Scope) -> bool:
        """Whether estimates must reserve all of ``max_tokens``."""
        return self._known.strict(scope, self._link.ground, self.server_us())

    def budgeted(self, scope: Scope) -> bool:
        """Whether any level of a scope has a calendar budget."""
        return self._known.budgeted(scope)

    def queue_wait_s(self, scope: Scope) -> int:
        """How long a call that is refused for now may wait."""
        return self._known.queue_wait_s(scope)

    def used(self, key: str, window: Window) -> Use:
        """What a metered level used in the present window, as the store last said."""
        if self._link.ground is None:
            return NOTHING
        return self._known.used(key, window, self._link.ground, self.server_us())

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
        self._adjust(key)

    def in_flight(self) -> int:
        """How many reservations of this process are running."""
        now_us = self.server_us()
        return sum(
            call.state in (State.HELD, State.LOCAL) and call.expires_us > now_us
            for call in self._calls.values()
        )

    @property
    def connected(self) -> bool:
        """Whether the store decides; otherwise this gateway does what it may alone."""
        return self._link.wire is not None

    def server_us(self) -> int:
        """The store's clock, as well as it is known here: microseconds since the epoch."""
        return self._now_us() if self._now_us else self._clock_us() + self._offset_us

    # Decisions

    def _ask(self, call: Call) -> None:
        wire = self._link.wire
        if wire is None:
            self._alone(call)
            return
        route = call.route
        count = len(route.levels)
        until = b"" if self._now_us else b"%d" % (self.server_us() + self._timeout_us)
        need = write_need(call.need, call.ttl_us, self._on_expiry)
        wire.send(
            RESERVE.head(3 + count, 6 + count)
            + self._keys(call)
            + self._ground()
            + bulk(until, need, call.name)
            + route.path
            + route.limits,
            lambda reply: self._answer(call, reply),
        )

    def _answer(self, call: Call, reply: object) -> None:
        found = self._read(reply)
        if found is None:
            if isinstance(reply, ReplyError) and self._link.wire is not None and call.turns < 2:
                self._retry(call)
                return
            self._withdraw(call)
            return
        code = found[0]
        if code == _ADMITTED:
            self._known.learn(call.route, found[3:])
            if call.answer.cancelled() or call.state is State.ENDED:
                self._calls.pop(call.rid, None)
                self._tell(call, "cancel")
            call.admit(read_hard(found[2]), State.HELD)
        elif code == _REFUSED:
            self._known.learn(call.route, found[2:])
            self._refuse(call, self._explain(call, found[1]))
        elif code == _UNREAD:
            self._read_books(call, [call.route.levels[number - 1][1] for number in found[2:]])
        elif code == _LATE and call.turns < 2:
            self._retry(call)
        else:
            self._link.drop()
            self._withdraw(call)

    def _retry(self, call: Call) -> None:
        call.turns += 1
        self._ask(call)

    def _explain(self, call: Call, now_us: int) -> Exception:
        assert self._link.ground is not None
        path = self._known.path(call.route, self._link.ground, now_us)
        return explain(path, call.need, now_us, now_us // _HOUR_US).error()

    def _refuse(self, call: Call, error: Exception) -> None:
        self._calls.pop(call.rid, None)
        call.refuse(error)

    def _withdraw(self, call: Call) -> None:
        """No answer came: whatever the store made of it is taken back, and this gateway decides alone."""
        self._tell(call, "cancel")
        if call.answer.cancelled() or call.state is State.ENDED:
            self._calls.pop(call.rid, None)
            return
        self._alone(call)

    def _alone(self, call: Call) -> None:
        """Decide without the store. In its books the call has a name of its own from here on."""
        if self._fallback is None:
            self._fallback = Fallback(self._clock_us, self._known.limits, self._gateways)
        try:
            grant = self._fallback.reserve(call.scope, call.rid, call.need, call.ttl_us / 1e6)
        except Exception as error:
            self.outages.failed_closed += 1
            self._refuse(call, error)
            return
        self.outages.failed_open += 1
        call.name = call.rid.encode() + b"~alone"
        call.registered = False
        call.admit(grant.hard, State.LOCAL)

    # What the store is told

    def _tell(self, call: Call, what: What) -> None:
        self._outgoing.tell(call, what, self.server_us(), up=self._link.wire is not None)

    def _transmit(self, note: Note) -> None:
        wire = self._link.wire
        if wire is None:
            return
        call = note.call
        if not call.registered:
            self._register(call)
        count = len(call.route.levels)
        wire.send(
            SETTLE.head(3 + count, 7)
            + self._keys(call, note.name)
            + self._ground()
            + bulk(
                note.what.encode(), note.name, write_used(note.used), b"%d" % note.ended_us, b"%d" % MARK_MS
            ),
            lambda reply: self._told(note, reply),
        )

    def _told(self, note: Note, reply: object) -> None:
        found = self._read(reply)
        if found is None:
            if isinstance(reply, ReplyError) and self._link.wire is not None:
                self._outgoing.transmit(note)
            return
        if found[0] == _OTHER_STORE:
            self._link.drop()
            return
        self._known.learn(note.call.route, found[2:])
        self._outgoing.acknowledge(note, up=self._link.wire is not None)

    def _register(self, call: Call) -> None:
        wire = self._link.wire
        assert wire is not None
        route, count = call.route, len(call.route.levels)

        def take(reply: object) -> None:
            found = self._read(reply)
            if found and found[0] == _ADMITTED:
                call.registered = True

        held = write_held(call.hard, self.server_us() - call.asked_us)
        wire.send(
            REGISTER.head(3 + count, 6 + count)
            + self._keys(call)
            + self._ground()
            + bulk(write_need(call.need, call.ttl_us, self._on_expiry), held, call.name)
            + route.path
            + route.limits,
            take,
        )

    # Coming and going

    def _up(self, contact: Contact) -> None:
        self._offset_us = contact.now_us - self._clock_us()
        self._keep_in_mind(contact)
        if self._away_since_us is not None:
            self.outages.fail_open_s += (self._clock_us() - self._away_since_us) / 1e6
            self._away_since_us = None
            _log.info("limits_store_back", untold=len(self._outgoing))
        self._fallback = None
        if contact.lost:
            self.outages.store_lost += 1
            self._known.forget()
            _log.warning("limits_store_lost", running=len(self._calls))
            self._on_lost()
        changed = contact.changed or contact.lost
        if changed:
            self.outages.store_changed += 1
        for note in self._outgoing.again(changed=changed, lost=contact.lost):
            self._outgoing.transmit(note)
        for call in self._calls.values():
            if call.state is State.LOCAL or (call.state is State.HELD and changed):
                call.state = State.HELD
                call.registered = False
                if call.name not in self._outgoing:
                    self._tell(call, "progress") if call.sent else self._register(call)

    def _down(self) -> None:
        if self._away_since_us is None:
            self._away_since_us = self._clock_us()
            _log.warning("limits_store_away", running=len(self._calls))

    def _read(self, reply: object) -> list[Any] | None:
        """Return an answer; ``None`` if there is none. Scripts that the server forgot are sent again."""
        if isinstance(reply, list):
            answer: list[Any] = reply
            self._offset_us = answer[1] - self._clock_us()
            return answer
        if reply is GONE:
            return None
        wire = self._link.wire
        if wire is not None:
            if str(reply).startswith("NOSCRIPT"):
                for script in ALL:
                    wire.send(script.load, lambda _reply: None)
            else:
                _log.warning("limits_store_error", error=str(reply)[:200])
                self._link.drop()
        return None

    def _remembered(self) -> bytes | None:
        if self._remember is None or not self._remember.is_file():
            return None
        text = self._remember.read_text().strip()
        return bytes.fromhex(text) if len(text) == 32 else None

    def _keep_in_mind(self, contact: Contact) -> None:
        if self._remember is not None:
            self._remember.write_text(contact.ground.generation.hex() + "\n")

    # Books and upkeep

    def _read_books(self, call: Call, keys: list[str]) -> None:
        """Let the store know what the books say of levels it does not know, then ask again."""
        tasks = []
        for key in keys:
            task = self._seeding.get(key)
            if task is None:
                task = self._seeding[key] = asyncio.ensure_future(self._sow(key))
                task.add_done_callback(lambda _task, key=key: self._seeding.pop(key, None))  # type: ignore[misc]
            tasks.append(task)

        def then(_done: asyncio.Future[list[bool]]) -> None:
            if not _done.cancelled() and all(_done.result()) and call.turns < 2:
                self._retry(call)
            else:
                self.outages.failed_closed += 1
                self._refuse(call, unavailable("what was used so far cannot be read from the books"))

        asyncio.gather(*tasks).add_done_callback(then)

    async def _sow(self, key: str) -> bool:
        read_us = self.server_us()
        try:
            rows = await self._seed(key)
        except Exception as error:
            _log.warning("limits_seed_failed", level=key, error=str(error)[:200])
            return False
        meter = Meter(read_us // _HOUR_US)
        meter.load(rows)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._adjust(key, write_meter(meter, read_us), answer)
        return await answer

    def _adjust(self, key: str, meter: bytes = b"", answer: asyncio.Future[bool] | None = None) -> None:
        wire = self._link.wire

        def take(reply: object) -> None:
            found = self._read(reply)
            if found and found[0] == _UNREAD and answer is None and key not in self._seeding:
                self._seeding[key] = task = asyncio.ensure_future(self._sow(key))
                task.add_done_callback(lambda _task: self._seeding.pop(key, None))
            if found and len(found) > 2:
                self._known.learn_one(key, found[2])
            if answer is not None and not answer.done():
                answer.set_result(found is not None and found[0] == _ADMITTED)

        if wire is None:
            take(GONE)
            return
        wire.send(
            ADJUST.head(2, 4)
            + bulk(self._prefix + b"m", self._known.key(key))
            + self._ground()
            + bulk(self._known.written(key), meter),
            take,
        )

    async def _sweep(self) -> None:
        """Let the store end overdue calls once a second, whoever's they are."""
        while True:
            await asyncio.sleep(1.0)
            if self._fallback is not None:
                self._fallback.expire()
            with contextlib.suppress(ConnectionError, ReplyError):
                await self.expire()

    async def expire(self) -> list[str]:
        """End the reservations whose time is up; return their ids. Raises if the store is away."""
        ended: list[str] = []
        more = True
        while more and self._link.wire is not None:
            found = await self._link.wire.run(EXPIRE.head(2, 2) + self._base + self._ground())
            assert isinstance(found, list)
            if found[0] == _OTHER_STORE:
                self._link.drop()
                break
            more = found[2] == 1
            for rid in found[3:]:
                ended.append(rid.decode())
                _log.warning("reservation_expired", rid=ended[-1])
        self._forget_overdue()
        return ended

    def _forget_overdue(self) -> None:
        """Forget calls that nobody settled for so long that the store forgot them too."""
        long_ago = self.server_us() - _LATE_US
        for rid in [rid for rid, call in self._calls.items() if call.expires_us < long_ago]:
            del self._calls[rid]

    def _keys(self, call: Call, name: bytes | None = None) -> bytes:
        return self._base + bulk(self._prefix + b"c:" + (name or call.name)) + call.route.keys

    def _ground(self) -> bytes:
        assert self._link.ground is not None
        return bulk(self._link.ground.generation, self._clock())

    def _clock(self) -> bytes:
        return b"%d" % self._now_us() if self._now_us else _NO_CLOCK
