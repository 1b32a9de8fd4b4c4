"""What is asked of the store, command by command, and how its answers are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

import structlog

from insula.governance.quota.grant import Expiry
from insula.governance.quota.need import Hard
from insula.governance.scope import PLATFORM
from insula.governance.stores.call import Call, Note
from insula.governance.stores.known import Known
from insula.governance.stores.link import Link
from insula.governance.stores.outgoing import MARK_MS
from insula.governance.stores.record import write_hard, write_held, write_need, write_used
from insula.governance.stores.scripts import (
    ADJUST,
    EXPIRE,
    EXTEND,
    JOIN,
    LEND,
    LOAD,
    REGISTER,
    RESERVE,
    SETTLE,
    TELL,
    TIDY,
    Script,
)  # fmt: skip
from insula.governance.stores.wire import GONE, OnReply, ReplyError, Wire, bulk

_log = structlog.get_logger()
_LOOKED_AT = 100
_BOOKS_S = 40 * 24 * 3_600
_STEP_US = 1_000_000


class Code(IntEnum):
    """How every answer begins."""

    REFUSED = 0
    DONE = 1
    OTHER_STORE = 2
    UNREAD = 3
    LATE = 4
    UNKNOWN = 5


class Exchange:
    """Writes commands for the present connection, and keeps the store's clock.

    ``clock_us`` is this host's monotonic clock; ``now_us``, in tests, the clock that the scripts are given.
    Only while ``up`` may anything be asked.
    """

    def __init__(
        self,
        prefix: bytes,
        known: Known,
        expiry: Expiry,
        clock_us: Callable[[], int],
        now_us: Callable[[], int] | None,
    ) -> None:
        self.link: Link
        self._known = known
        self._expiry = expiry
        self._clock_us = clock_us
        self._now_us = now_us
        self._offset_us = 0
        self._prefix = prefix
        self._calls = prefix + b"c:"
        self.ground_key = prefix + b"m"
        self._base = bulk(self.ground_key, prefix + b"x")

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        wire = self.link.wire
        return wire is not None and not wire.gone

    def server_us(self) -> int:
        """The store's clock, as well as it is known here: microseconds since the epoch."""
        return self._now_us() if self._now_us else self._clock_us() + self._offset_us

    def set_clock(self, server_us: int) -> None:
        """The store's clock stood at ``server_us`` when it answered: some time ago, who knows how long.

        So the latest reading counts, until one differs by a step of the clock; a slow decay follows drift.
        """
        seen = server_us - self._clock_us()
        if seen <= self._offset_us < seen + _STEP_US:
            self._offset_us -= 1
        else:
            self._offset_us = seen

    def clock(self) -> bytes:
        """Return the clock that scripts are given: none, they have the server's."""
        return b"%d" % self._now_us() if self._now_us else b""

    def reserve(self, call: Call, within_us: int, take: OnReply) -> None:
        """Ask for a reservation. The store is not to admit it when nobody waits for the answer any more."""
        until = b"" if self._now_us else b"%d" % (self.server_us() + within_us)
        route, count = call.route, len(call.route.levels)
        self._wire.send(
            RESERVE.head(3 + count, 7)
            + self._keys(call, call.name)
            + self._ground()
            + bulk(until, write_need(call.need, call.ttl_us, self._expiry), call.name)
            + route.path
            + route.limits,
            take,
        )

    def extend(self, call: Call, more: Hard, take: OnReply) -> None:
        """Ask for more of what budgets hold."""
        head = EXTEND.head(3 + len(call.route.levels), 4) + self._keys(call, call.name)
        self._wire.send(head + self._ground() + bulk(write_hard(more)) + call.route.limits, take)

    def settle(self, note: Note, take: OnReply) -> None:
        """Tell how far a call is, or that it ended."""
        figures = (write_used(note.used), b"%d" % note.booked, b"%d" % MARK_MS)
        self._wire.send(
            SETTLE.head(3 + len(note.call.route.levels), 7)
            + self._keys(note.call, note.name)
            + self._ground()
            + bulk(note.what.encode(), note.name, *figures),
            take,
        )

    def register(self, call: Call, take: OnReply) -> None:
        """Tell of a call that runs already."""
        held = write_held(call.hard, max(0, self.server_us() - call.asked_us))
        route = call.route
        self._wire.send(
            REGISTER.head(3 + len(route.levels), 7)
            + self._keys(call, call.name)
            + self._ground()
            + bulk(write_need(call.need, call.ttl_us, self._expiry), held, call.name)
            + route.path
            + route.limits,
            take,
        )

    def adjust(self, key: str, take: OnReply) -> None:
        """Tell of a level's limits."""
        self._wire.send(
            ADJUST.head(2, 3)
            + bulk(self.ground_key, self._known.key(key))
            + self._ground()
            + bulk(self._known.written(key)),
            take,
        )

    async def joined(self, gateway: bytes) -> bool:
        """Return whether a gateway told its books. Raises ``ConnectionError`` or ``ReplyError``."""
        return bool((await self._join(gateway, b"1"))[2])

    async def join(self, gateway: bytes) -> None:
        """A gateway told all of its books. Raises ``ConnectionError`` or ``ReplyError``."""
        await self._join(gateway, b"")

    async def tell_books(self, gateway: bytes, levels: Iterable[tuple[bytes, bytes]]) -> None:
        """Tell what a gateway used, by level. Raises ``ConnectionError`` or ``ReplyError``."""
        words = [word for level in levels for word in level]
        keys = bulk(self.ground_key, self._prefix + b"b:" + gateway.hex().encode())
        await self._sure(TELL.head(2, 3 + len(words)) + keys, b"%d" % _BOOKS_S, *words)

    async def _join(self, gateway: bytes, only_ask: bytes) -> list[Any]:
        keys = bulk(self.ground_key, self._prefix + b"b")
        return await self._sure(JOIN.head(2, 4) + keys, gateway.hex().encode(), only_ask)

    async def _sure(self, head: bytes, *figures: bytes) -> list[Any]:
        if not self.up:
            raise GONE
        found = self.read(await self._wire.run(head + self._ground() + bulk(*figures)))
        if found is None or found[0] != Code.DONE:
            raise GONE
        return found

    async def expire(self) -> tuple[list[str], bool]:
        """End overdue calls; their ids, and whether there may be more."""
        found = self.read(await self._wire.run(EXPIRE.head(2, 2) + self._base + self._ground()))
        if found is None or found[0] != Code.DONE:
            return [], False
        return [rid.decode() for rid in found[3:]], found[2] == 1

    async def tidy(self, cursor: bytes) -> bytes:
        """Forget idle levels among the next few; where to go on."""
        line = TIDY.head(2, 4) + self._base + self._ground() + bulk(cursor, b"%d" % _LOOKED_AT)
        found = self.read(await self._wire.run(line))
        return found[2] if found is not None and found[0] == Code.DONE else b"0"

    async def lease(self, script: Script, *figures: bytes) -> list[Any] | None:
        """Ask about what this shard leases of the platform's rates; see ``Lease``."""
        keys = bulk(self.ground_key, self._known.key(PLATFORM), self._prefix + b"g")
        return await self._about_platform(script, keys, self._known.written(PLATFORM), *figures)

    async def lend(self, limits: bytes, *figures: bytes) -> list[Any] | None:
        """Ask for a lease of the platform's rates, whose buckets are here."""
        keys = bulk(self.ground_key, self._prefix + b"h:*", self._prefix + b"h")
        return await self._about_platform(LEND, keys, limits, *figures)

    async def _about_platform(self, script: Script, keys: bytes, *figures: bytes) -> list[Any] | None:
        if not self.up:
            return None
        line = script.head(3, 2 + len(figures)) + keys + self._ground() + bulk(*figures)
        try:
            return self.read(await self._wire.run(line))
        except (ConnectionError, ReplyError) as error:
            return self.read(error)

    def read(self, reply: object) -> list[Any] | None:
        """Return an answer; ``None`` if there is none.

        Functions that the server forgot are loaded again, and the command may be. If the server cannot serve
        now (it loads, is full, is a replica), or is another store, the connection is given up.
        """
        if isinstance(reply, list):
            answer: list[Any] = reply
            self.set_clock(answer[1])
            if answer[0] == Code.OTHER_STORE:
                self.link.drop()
            return answer
        if reply is GONE or not self.up:
            return None
        if "Function not found" in str(reply):
            self._wire.send(LOAD, lambda _reply: None)
        elif not str(reply).startswith("ERR "):
            _log.warning("limits_store_error", error=str(reply)[:200])
            self.link.drop()
        return None

    @property
    def _wire(self) -> Wire:
        assert self.link.wire is not None
        return self.link.wire

    def _keys(self, call: Call, name: bytes) -> bytes:
        return self._base + bulk(self._calls + name) + call.route.keys

    def _ground(self) -> bytes:
        assert self.link.ground is not None
        return bulk(self.link.ground.generation, self.clock())
