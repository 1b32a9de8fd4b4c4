"""The platform's end of the spawner: starts it, speaks with it, notices when it is gone."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from insula.kernel.errors import UnavailableError
from insula.sandbox import wire
from insula.sandbox.recipe import Missing
from insula.tenancy import Rung

Hear = Callable[[dict[str, Any], list[int]], None]


class SpawnerLine:
    """One spawner process. ``hear`` gets each event with its fds; ``lost`` is called once when it is gone."""

    def __init__(self, hear: Hear, lost: Callable[[], None]) -> None:
        self._hear = hear
        self.lost = lost
        self._end: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: asyncio.Future[Mapping[Rung, Sequence[Missing]]] | None = None
        self._unsent: deque[dict[str, Any]] = deque()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def open(self) -> Mapping[Rung, Sequence[Missing]]:
        """Start the process; return what each rung lacks on this host."""
        loop = asyncio.get_running_loop()
        ours, theirs = wire.pair()
        command = [sys.executable, "-I", "-m", "insula.sandbox.spawner", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - milliseconds, once
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, cwd="/", env={}
            )
        ours.setblocking(False)
        self._end = ours
        self._ready = loop.create_future()
        loop.add_reader(ours.fileno(), self._readable)
        return await self._ready

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a message. Raises ``UnavailableError`` when the spawner is gone or does not keep up."""
        if self._end is None:
            raise _away()
        try:
            wire.send(self._end, message, fds)
        except BlockingIOError:
            raise UnavailableError("the spawner is busy", hint="try again", retry_after_s=1) from None
        except OSError:
            self._gone()
            raise _away() from None

    def insist(self, message: dict[str, Any]) -> None:
        """Send a message that must arrive, after those that wait; a spawner that is gone needs none."""
        self._unsent.append(message)
        self._flush()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._unsent and self._end is not None:
            try:
                wire.send(self._end, self._unsent[0])
            except BlockingIOError:
                loop.add_writer(self._end.fileno(), self._flush)
                return
            except OSError:
                self._gone()
                return
            self._unsent.popleft()
        if self._end is not None:
            loop.remove_writer(self._end.fileno())

    async def close(self) -> None:
        """Let go: the spawner ends every sandbox and itself."""
        self._hang_up()
        if self._process is not None:
            await asyncio.to_thread(self._wait)

    def _wait(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _readable(self) -> None:
        while self._end is not None:
            try:
                arrived = wire.receive(self._end)
            except BlockingIOError:
                return
            if arrived is None:
                self._gone()
                return
            self._take(*arrived)

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        if message["event"] == "ready":
            assert self._ready is not None
            lacks = {
                Rung.named(name): tuple(Missing(**one) for one in found)
                for name, found in message["missing"].items()
            }
            self._ready.set_result(lacks)
            return
        self._hear(message, fds)

    def _hang_up(self) -> bool:
        end, self._end = self._end, None
        if end is None:
            return False
        loop = asyncio.get_running_loop()
        loop.remove_reader(end.fileno())
        loop.remove_writer(end.fileno())
        end.close()
        return True

    def _gone(self) -> None:
        if not self._hang_up():
            return
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(UnavailableError("the spawner did not start"))
        self.lost()


def _away() -> UnavailableError:
    return UnavailableError("the spawner is gone", hint="it is being restarted", retry_after_s=1)


def readable_pipe() -> tuple[int, int]:
    """Return a pipe whose reading end does not block."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reader, False)
    return reader, writer
