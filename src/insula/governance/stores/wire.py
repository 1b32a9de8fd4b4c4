"""One connection to a Valkey or Redis server: commands of one turn of the event loop leave together.

The protocol is RESP2 (Redis serialization protocol, https://redis.io/docs/latest/develop/reference/protocol-spec/).
Answers come in the order of the commands, so a queue of callbacks is all that is needed to match them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from hiredis import Reader, ReplyError

__all__ = ["GONE", "ReplyError", "Wire", "bulk", "command"]

OnReply = Callable[[object], None]
"""Takes the answer: a value, a ``ReplyError``, or ``GONE`` if there will be none."""

GONE: Final = ConnectionError("the connection to the store of limits is gone")


def bulk(*parts: bytes) -> bytes:
    """Return the parts as RESP bulk strings."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def command(*parts: bytes) -> bytes:
    """Return a command with its arguments as RESP."""
    return b"*%d\r\n%b" % (len(parts), bulk(*parts))


class Wire(asyncio.Protocol):
    """A connection that is made once; when it breaks or an answer takes too long it is gone for good.

    ``on_gone`` is called once, after every command that waits was answered with ``GONE``.
    """

    def __init__(self, timeout_s: float, on_gone: Callable[[], None]) -> None:
        self._timeout_s = timeout_s
        self.on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, OnReply]] = deque()
        self._outgoing: list[bytes] = []
        self._alarm: asyncio.TimerHandle | None = None
        self.gone = False

    def send(self, line: bytes, on_reply: OnReply) -> None:
        """Send a command (see ``command``) at the end of this turn of the loop."""
        if self.gone:
            on_reply(GONE)
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(line)
        self._waiting.append((self._loop.time(), on_reply))
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._timeout_s, self._look)

    def ask(self, *parts: bytes) -> asyncio.Future[object]:
        """Send a command; its answer. A ``ReplyError`` or a lost connection is raised."""
        return self.run(command(*parts))

    def run(self, line: bytes) -> asyncio.Future[object]:
        """Send a command that is RESP already; its answer."""
        answer: asyncio.Future[object] = self._loop.create_future()

        def take(reply: object) -> None:
            if answer.done():
                return
            if isinstance(reply, Exception):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

        self.send(line, take)
        return answer

    def close(self) -> None:
        """Hang up now; whoever waits is told."""
        if self._transport is not None:
            self._transport.abort()
        self._lose()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        gets = self._reader.gets
        while self._waiting:  # whoever is told may hang up, and then nobody waits
            reply = gets()
            if reply is False:
                return
            self._waiting.popleft()[1](reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()

    def _flush(self) -> None:
        lines, self._outgoing = self._outgoing, []
        if self._transport is not None and lines:
            self._transport.write(b"".join(lines))

    def _look(self) -> None:
        """Hang up if the oldest command has waited too long; one timer serves all of them."""
        self._alarm = None
        if not self._waiting:
            return
        left = self._waiting[0][0] + self._timeout_s - self._loop.time()
        if left <= 0:
            self.close()
        else:
            self._alarm = self._loop.call_later(left, self._look)

    def _lose(self) -> None:
        if self.gone:
            return
        self.gone = True
        if self._alarm is not None:
            self._alarm.cancel()
        waiting, self._waiting = self._waiting, deque()
        for _, on_reply in waiting:
            on_reply(GONE)
        self.on_gone()
