"""One connection of a caller: requests answered in order, one at a time, and nobody waited for too long.

A plain ``asyncio.Protocol`` on httptools: every call to the platform passes here, and a framework stack
would cost several times what all of its governance does.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, Protocol

from insula.gateway import reply
from insula.gateway.reader import RequestReader
from insula.gateway.wire import Request, SlowRequest

if TYPE_CHECKING:
    from insula.gateway.site import Site
    from insula.kernel.errors import InsulaError

_NEVER = float("inf")
_LINGER_S = 2.0
_READ_AHEAD = 256 * 1024


class Exchange(Protocol):
    """What answers a request that takes its time. The connection tells it how the caller fares."""

    def gone(self) -> None:
        """The caller left: nothing more can be answered."""
        ...

    def pause(self) -> None:
        """The caller reads too slowly: produce nothing more."""
        ...

    def resume(self) -> None:
        """The caller has caught up."""
        ...


class Connection(asyncio.Protocol):
    """Keeps order and time, writes. The reader knows what bytes mean, the site what requests mean."""

    __slots__ = (
        "_chunked", "_closing", "_discarded", "_later", "_loop", "_reader", "_reading", "_stalled",
        "deadline", "exchange", "request", "site", "transport",
    )  # fmt: skip

    def __init__(self, site: Site) -> None:
        self.site = site
        self.transport: asyncio.Transport | None = None  # ``None``: nothing can be answered
        self.request: Request | None = None  # the one being answered
        self.exchange: Exchange | None = None
        self.deadline = _NEVER  # loop time at which the caller has waited or dawdled long enough
        self._reader = RequestReader(site.limits, site)
        self._later = b""
        self._chunked = False
        self._closing = False
        self._discarded = 0
        self._stalled = False
        self._reading = True
        self._loop = asyncio.get_running_loop()

    def peer_uid(self) -> int | None:
        """Return the user at the other end of a Unix socket; ``None`` if that cannot be told."""
        handle = self.transport.get_extra_info("socket") if self.transport is not None else None
        if handle is None:
            return None
        with socket.socket(fileno=os.dup(handle.fileno())) as own:
            _, uid, _ = struct.unpack("3i", own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(uid)

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.deadline = self._loop.time() + self.site.limits.head_s
        refusal = self.site.admit(self)
        if refusal is not None:
            self._answer_fault(refusal)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._discard(len(data))
        elif self.request is None and not self._reader.queue:
            self._read(data)
        else:
            self._keep_for_later(data)

    def eof_received(self) -> bool:
        """A caller that closes its side has left: an answer to it cannot be told from one to nobody."""
        self._leave()
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self._leave()
        self.site.leave(self)

    def pause_writing(self) -> None:
        self._stalled = True
        self.deadline = self._loop.time() + self.site.limits.stall_s
        if self.exchange is not None:
            self.exchange.pause()

    def resume_writing(self) -> None:
        self._stalled = False
        self.deadline = _NEVER if self.request is not None else self._loop.time() + self.site.limits.idle_s
        if self.exchange is not None:
            self.exchange.resume()
        else:
            self._go_on()

    # answering

    def reply(self, status: int, headers: bytes, body: bytes, *, close: bool = False) -> None:
        """Answer the present request with a whole response; ``headers`` are finished lines."""
        request = self.request
        if self.transport is None or request is None:
            return
        close = close or not request.keep_alive or self.site.draining
        bare = request.method == b"HEAD"
        self.transport.write(reply.whole(status, headers, body, close=close, bare=bare))
        self._finished(close)

    def begin_stream(self, headers: bytes) -> None:
        """Answer the present request with an event stream; its parts follow."""
        request = self.request
        if self.transport is None or request is None:
            return
        self._chunked = request.http11
        request.keep_alive = request.keep_alive and self._chunked and not self.site.draining
        self._reader.release()
        self.transport.write(reply.stream_head(headers, chunked=self._chunked, close=not request.keep_alive))

    def stream(self, data: bytes) -> None:
        """Send a part (not empty) of the stream."""
        if self.transport is not None:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end_stream(self, tail: bytes) -> None:
        """Send the last part and end the stream as complete."""
        if self.transport is None or self.request is None:
            return
        self.transport.write(reply.last_part(tail, chunked=self._chunked))
        self._finished(not self.request.keep_alive)

    def break_stream(self, tail: bytes) -> None:
        """Send ``tail`` and close without the end of the stream: the caller must see that it is cut."""
        if self.transport is not None:
            self.stream(tail)
            self.transport.close()
            self.exchange = None
            self._leave()

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()
            self._leave()

    def overdue(self) -> None:
        """The caller took too long: say so if it was sending a request, else just close."""
        if self._reader.awaiting and self.request is None and not self._closing:
            self._answer_fault(SlowRequest("the request did not arrive in time", hint="send it faster"))
        else:
            self.abort()

    # inside

    def _read(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        awaiting = reader.awaiting
        if awaiting:
            self._give_time(awaiting)
        self._next()

    def _give_time(self, awaiting: str) -> None:
        """Bound the head from its first byte and the body from its own, whatever their pace."""
        limits = self.site.limits
        if awaiting == "head":
            self.deadline = min(self.deadline, self._loop.time() + limits.head_s)
        elif self._reader.body_begins():
            self.deadline = self._loop.time() + limits.body_s
        if self._reader.continues and self.transport is not None:
            self._reader.continues = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _next(self) -> None:
        """Turn to the next request that is whole, or to what was wrong with it."""
        if self.request is not None or self._stalled or self.transport is None or self._closing:
            return
        reader = self._reader
        if reader.queue:
            self.request = reader.queue.popleft()
            self.deadline = _NEVER
            self.site.handle(self, self.request)
        elif reader.fault is not None:
            self._answer_fault(reader.fault)

    def _finished(self, close: bool) -> None:
        self.request = None
        self.exchange = None
        self._reader.release()
        if close:
            self._linger()
            return
        limits = self.site.limits
        self.deadline = self._loop.time() + (limits.stall_s if self._stalled else limits.idle_s)
        if self._reader.queue or self._later or self._reader.fault is not None:
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Turn to what arrived while the last request was answered."""
        if self.request is None and not self._reader.queue and self._later and not self._stalled:
            later, self._later = self._later, b""
            self._read_again()
            self._read(later)
        else:
            self._next()

    def _keep_for_later(self, data: bytes) -> None:
        self._later += data
        if len(self._later) > _READ_AHEAD and self._reading and self.transport is not None:
            self._reading = False
            self.transport.pause_reading()

    def _read_again(self) -> None:
        if not self._reading and self.transport is not None:
            self._reading = True
            self.transport.resume_reading()

    def _discard(self, size: int) -> None:
        """Bytes that came after the end: a few are read so that the answer arrives, a flood is not."""
        self._discarded += size
        if self._discarded > _READ_AHEAD:
            self.abort()

    def _answer_fault(self, fault: InsulaError) -> None:
        self._reader.drop()
        self.request = Request()
        self.site.refuse(self, fault, close=True)

    def _linger(self) -> None:
        """Close, but read on for a moment first: a reset would destroy the answer on its way."""
        if self.transport is None:
            return
        self._closing = True
        self._later = b""
        self._reader.drop()
        self.deadline = self._loop.time() + _LINGER_S
        self._read_again()
        self.transport.write_eof()

    def _leave(self) -> None:
        """Nothing can be answered any more."""
        self.transport = None
        self._closing = True
        self._later = b""
        self._reader.drop()
        self.request = None
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.gone()
