"""One connection of a caller: HTTP/1.1 parsed as it arrives, requests answered in order, one at a time.

A plain ``asyncio.Protocol`` on httptools: every call to the platform passes here, and a framework stack
would cost several times what all of its governance does.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Protocol

import httptools

from insula.gateway import reply
from insula.gateway.wire import HeadTooLong, Request, SlowRequest
from insula.kernel.errors import InsulaError, InvalidRequest, Overloaded, TooLarge

if TYPE_CHECKING:
    from insula.gateway.site import Site

_NEVER = float("inf")
_LINGER_S = 2.0
_READ_AHEAD = 256 * 1024
_ONCE = frozenset({b"host", b"authorization", b"x-api-key", b"content-length"})


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
    """Parses, keeps order and limits, writes. What a request means is the site's business."""

    __slots__ = (
        "_buffered", "_building", "_chunked", "_discarding", "_fault", "_held", "_later", "_loop", "_parser",
        "_queue", "_reading", "_stalled", "deadline", "exchange", "request", "site", "transport",
    )  # fmt: skip

    def __init__(self, site: Site) -> None:
        self.site = site
        self.transport: asyncio.Transport | None = None
        self.request: Request | None = None  # the one being answered
        self.exchange: Exchange | None = None
        self.deadline = _NEVER  # loop time at which the caller has waited or dawdled long enough
        self._parser = httptools.HttpRequestParser(self)
        self._building: Request | None = None
        self._held: list[bytes] = []
        self._buffered = 0  # bytes counted against the site
        self._queue: deque[Request] = deque()
        self._later = b""
        self._fault: InsulaError | None = None
        self._discarding = False
        self._chunked = False
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
            self._fault = refusal
            self._answer_fault()

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            return
        if self.request is None and not self._queue:
            self._feed(data)
        else:
            self._keep_for_later(data)

    def eof_received(self) -> bool:
        """A caller that closes its side has left: an answer to it cannot be told from one to nobody."""
        self._leave()
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self._leave()
        self.site.leave(self)

    def _leave(self) -> None:
        """Nothing can be answered any more."""
        self.transport = None
        self._discarding = True
        self._release_body()
        self._queue.clear()
        self._later = b""
        self.request = self._building = None
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.gone()

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
            self._next()

    # httptools

    def on_message_begin(self) -> None:
        self._building = Request()

    def on_url(self, part: bytes) -> None:
        request = self._building
        if request is not None:
            request.target += part
            if len(request.target) > self.site.limits.head_bytes:
                self._fault = _long_head(self.site.limits.head_bytes)

    def on_header(self, name: bytes, value: bytes) -> None:
        request = self._building
        if request is None or self._fault is not None or request.method:  # trailers say nothing
            return
        name = name.lower()
        headers = request.headers
        request.head_size += len(name) + len(value) + 4
        if name in headers and name in _ONCE:
            self._fault = InvalidRequest(
                "a header that may come once came twice", field=name.decode("latin-1")
            )
        elif len(headers) >= self.site.limits.headers or request.head_size > self.site.limits.head_bytes:
            self._fault = _long_head(self.site.limits.head_bytes)
        headers[name] = value

    def on_headers_complete(self) -> None:
        request = self._building
        if request is None or self._fault is not None:
            return
        request.method = self._parser.get_method()
        request.http11 = self._parser.get_http_version() != "1.0"
        request.keep_alive = self._parser.should_keep_alive()
        length = request.headers.get(b"content-length")
        if length is not None and (len(length) > 12 or int(length) > self.site.limits.body_bytes):
            self._fault = _large_body(self.site.limits.body_bytes)
        elif request.headers.get(b"expect", b"").lower() == b"100-continue" and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        if self._fault is not None:
            return
        self._held.append(data)
        self._buffered += len(data)
        self.site.buffered += len(data)
        if self._buffered > self.site.limits.body_bytes:
            self._fault = _large_body(self.site.limits.body_bytes)
        elif self.site.buffered > self.site.limits.buffered_bytes:
            self._fault = Overloaded(
                "too much request data is being received at once", hint="send fewer large requests at a time",
                retry_after_s=1,
            )  # fmt: skip

    def on_message_complete(self) -> None:
        request, self._building = self._building, None
        if request is None or self._fault is not None:
            return
        if len(self._queue) >= self.site.limits.pipelined:
            self._fault = Overloaded("too many requests at once on one connection", retry_after_s=1)
            return
        request.body = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held.clear()
        self._queue.append(request)

    # answering

    def reply(self, status: int, headers: bytes, body: bytes, *, close: bool = False) -> None:
        """Answer the present request with a whole response."""
        request = self.request
        if self.transport is None or request is None:
            return
        close = close or not request.keep_alive or self.site.draining
        if request.method == b"HEAD":
            body = b""
        self.transport.write(reply.whole(status, headers, body, close=close))
        self._finished(close)

    def begin_stream(self, headers: bytes) -> None:
        """Answer the present request with an event stream; its parts follow."""
        request = self.request
        if self.transport is None or request is None:
            return
        self._chunked = request.http11
        close = not request.keep_alive or not self._chunked or self.site.draining
        request.keep_alive = not close
        self._release_body()
        self.transport.write(reply.stream_head(headers, chunked=self._chunked, close=close))

    def stream(self, data: bytes) -> None:
        """Send a part (not empty) of the stream."""
        if self.transport is not None:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end_stream(self, tail: bytes) -> None:
        """Send the last part and end the stream as complete."""
        if self.transport is None or self.request is None:
            return
        framed = reply.chunk(tail) if tail and self._chunked else tail
        self.transport.write(framed + reply.END_OF_CHUNKS if self._chunked else framed)
        self._finished(not self.request.keep_alive)

    def break_stream(self, tail: bytes) -> None:
        """Send ``tail`` and close without the end of the stream: the caller must see that it is cut."""
        if self.transport is None:
            return
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
        if self._building is not None and self.request is None and not self._discarding:
            self._fault = SlowRequest("the request did not arrive in time", hint="send it faster")
            self._answer_fault()
        else:
            self.abort()

    # inside

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data, int(upgrade.args[0]))
            return
        except httptools.HttpParserError as error:
            if self._queue and not self._queue[-1].keep_alive:
                pass  # bytes after a request that asked to close: nobody is to read them
            elif self._fault is None:
                self._fault = InvalidRequest(f"this is not HTTP/1.1: {error}", hint="speak plain HTTP/1.1")
        self._after_feed(len(data))

    def _after_feed(self, size: int) -> None:
        building = self._building
        if building is not None and self._fault is None:
            self._watch_progress(building, size)
        if self._fault is not None and not self._queue:
            self._answer_fault()
        else:
            self._next()

    def _watch_progress(self, building: Request, size: int) -> None:
        """Bound the head in bytes and in time, the body in time: from their first byte, not their last."""
        limits = self.site.limits
        if building.method:
            if not building.awaited:
                building.awaited = True
                self.deadline = self._loop.time() + limits.body_s
            return
        self.deadline = min(self.deadline, self._loop.time() + limits.head_s)
        self._buffered += size  # a head that never ends is held by the parser
        self.site.buffered += size
        if self._buffered > limits.head_bytes:
            self._fault = _long_head(limits.head_bytes)

    def _upgrade(self, data: bytes, offset: int) -> None:
        """CONNECT is for the site to refuse; another upgrade is declined: the request is read without it."""
        request = self._queue[-1] if self._queue else None
        if request is None or self._fault is not None or request.method == b"CONNECT":
            self._after_feed(0)
            return
        self._queue.pop()
        request.headers.pop(b"upgrade", None)
        request.headers.pop(b"connection", None)
        lines = b"".join(b"%b: %b\r\n" % item for item in request.headers.items())
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (request.method, request.target, lines)
        self._parser = httptools.HttpRequestParser(self)
        self._feed(head + data[offset:])

    def _next(self) -> None:
        if self.request is not None or self._stalled or self.transport is None or self._discarding:
            return
        if self._queue:
            self.request = self._queue.popleft()
            self.deadline = _NEVER
            self.site.handle(self, self.request)
        elif self._fault is not None:
            self._answer_fault()

    def _finished(self, close: bool) -> None:
        assert self.transport is not None
        self.request = None
        self.exchange = None
        self._release_body()
        if close:
            self._linger()
            return
        limits = self.site.limits
        self.deadline = self._loop.time() + (limits.stall_s if self._stalled else limits.idle_s)
        if self._queue or self._later or self._fault is not None:
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Turn to what arrived while the last request was answered."""
        if self.request is None and not self._queue and self._later and not self._stalled:
            later, self._later = self._later, b""
            self._read_again()
            self._feed(later)
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

    def _release_body(self) -> None:
        self.site.buffered -= self._buffered
        self._buffered = 0

    def _answer_fault(self) -> None:
        fault, self._fault = self._fault, None
        assert fault is not None
        self._building = None
        self._held.clear()
        self._release_body()
        self.request = Request()
        self.site.refuse(self, fault, close=True)

    def _linger(self) -> None:
        """Close, but read on for a moment first: a reset would destroy the answer on its way."""
        if self.transport is None:
            return
        self._discarding = True
        self._later = b""
        self._queue.clear()
        self.deadline = self._loop.time() + _LINGER_S
        self._read_again()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()


def _long_head(limit: int) -> InsulaError:
    return HeadTooLong(
        f"the request's head is longer than {limit} bytes", hint="send fewer or shorter headers"
    )


def _large_body(limit: int) -> InsulaError:
    return TooLarge(f"the request body is larger than {limit} bytes", hint="send less at once", field="body")
