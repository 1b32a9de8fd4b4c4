"""Keeps one connection to the store, and knows which store it is.

A store is known by its *generation*, a random id written at first contact. Another generation means that the
counters are lost; another server under the same generation (a restart, a failover) means that the last of
what was written may be.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from insula.governance.stores.address import Address
from insula.governance.stores.membership import Membership
from insula.governance.stores.record import Ground
from insula.governance.stores.scripts import HELLO, LOAD
from insula.governance.stores.wire import GONE, ReplyError, Wire, bulk
from insula.kernel.entropy import token_bytes

_log = structlog.get_logger()
_SOONEST_S: Final = 0.02
_LATEST_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Contact:
    """What was found when the connection came up.

    The server ``changed``; the counters that were known are ``lost``; this store was ``met`` just now.
    """

    ground: Ground
    now_us: int
    changed: bool
    lost: bool
    met: bool


class Link:
    """Connects, and connects again, until stopped.

    ``on_up`` is called when commands may be sent, ``on_down`` when they no longer may. ``membership`` knows
    the generation met last.
    """

    def __init__(
        self,
        address: Address,
        ground_key: bytes,
        *,
        timeout_s: float,
        membership: Membership,
        clock: Callable[[], bytes],
        on_up: Callable[[Contact], None],
        on_down: Callable[[], None],
    ) -> None:
        self.address = address
        self.wire: Wire | None = None
        self.ground: Ground | None = None
        self._ground_key = ground_key
        self._timeout_s = timeout_s
        self._membership = membership
        self._clock = clock
        self._on_up = on_up
        self._on_down = on_down
        self._task: asyncio.Task[None] | None = None
        self._first = asyncio.Event()

    async def start(self, wait_s: float) -> None:
        """Begin to connect; return when the connection is up, or after ``wait_s`` seconds."""
        self._task = asyncio.create_task(self._keep(), name="limits-store")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._first.wait()

    async def stop(self) -> None:
        """Hang up for good; nobody is told."""
        self._on_down = lambda: None
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.drop()

    def drop(self) -> None:
        """Hang up now and connect anew: the store answered what it must not."""
        if self.wire is not None:
            self.wire.close()

    async def _keep(self) -> None:
        pause = _SOONEST_S
        while True:
            gone = asyncio.Event()
            try:
                wire = await self.address.connect(self._timeout_s, gone.set)
            except (OSError, TimeoutError, ReplyError):
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LATEST_S)
                continue
            try:
                contact = await self._greet(wire)
                if wire.gone:
                    raise GONE
            except (OSError, TimeoutError, ReplyError) as error:
                wire.close()
                _log.warning("limits_store_refuses", error=str(error)[:200])
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LATEST_S)
                continue
            except BaseException:
                wire.close()
                raise
            pause = _SOONEST_S
            wire.on_gone = lambda gone=gone: self._down(gone)  # type: ignore[misc]
            self.wire = wire
            self._on_up(contact)
            self._first.set()
            await gone.wait()

    def _down(self, gone: asyncio.Event) -> None:
        self.wire = None
        self._on_down()
        gone.set()

    async def _greet(self, wire: Wire) -> Contact:
        with contextlib.suppress(ReplyError):  # it is there already, or the greeting will say what is wrong
            await wire.run(LOAD)
        run = _run_id(await wire.ask(b"INFO", b"server"))
        found = await wire.run(
            HELLO.head(1, 4)
            + bulk(self._ground_key, token_bytes(16), self._membership.generation or b"", run, self._clock())
        )
        assert isinstance(found, list)
        raw, now_us, lost = found
        ground = Ground.read(raw)
        before, self.ground = self.ground, ground
        met = self._membership.generation != ground.generation
        if met:
            self._membership.meet(ground.generation)
        changed = before is None or before.run != ground.run or before.epoch != ground.epoch
        return Contact(ground, now_us, changed or bool(lost), bool(lost), met)


def _run_id(info: object) -> bytes:
    assert isinstance(info, bytes)
    for line in info.splitlines():
        if line.startswith(b"run_id:"):
            return line[7:]
    return b""
