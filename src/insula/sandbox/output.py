"""What a workload prints: two pipes, read as fast as they are consumed, up to a bound."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

from insula.sandbox.spec import OutputChunk

_PIECE = 65_536
_AHEAD = 16


class Output:
    """``most`` bytes of both streams together; one more and ``overflow`` is called, the rest is dropped."""

    def __init__(self, stdout: int, stderr: int, most: int, overflow: Callable[[], None]) -> None:
        self._fds = {stdout: "stdout", stderr: "stderr"}
        self._left = most
        self._overflow = overflow
        self._queue: asyncio.Queue[OutputChunk | None] = asyncio.Queue()
        self._paused = self._flooded = False
        loop = asyncio.get_running_loop()
        for fd in self._fds:
            loop.add_reader(fd, self._read, fd)

    async def chunks(self) -> AsyncIterator[OutputChunk]:
        """Yield what is printed, in the order it was read, until both streams have ended."""
        while True:
            chunk = await self._queue.get()
            if chunk is None:
                self._queue.put_nowait(None)
                return
            yield chunk
            if self._paused and self._queue.qsize() < _AHEAD // 2:
                self._resume()

    def close(self) -> None:
        """Read no more."""
        for fd in list(self._fds):
            self._end(fd)

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, _PIECE)
        except BlockingIOError:
            return
        if not data:
            self._end(fd)
            return
        kept, self._left = data[: max(self._left, 0)], self._left - len(data)
        if kept:
            self._queue.put_nowait(OutputChunk(self._fds[fd], kept))
        if self._left < 0:
            if not self._flooded:
                self._flooded = True
                self._overflow()
        elif self._queue.qsize() >= _AHEAD:
            self._pause()

    def _pause(self) -> None:
        self._paused = True
        for fd in self._fds:
            asyncio.get_running_loop().remove_reader(fd)

    def _resume(self) -> None:
        self._paused = False
        for fd in self._fds:
            asyncio.get_running_loop().add_reader(fd, self._read, fd)

    def _end(self, fd: int) -> None:
        asyncio.get_running_loop().remove_reader(fd)
        del self._fds[fd]
        os.close(fd)
        if not self._fds:
            self._queue.put_nowait(None)
