"""Requests out of bytes: parsing, and the bounds on what one caller may make the platform hold."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import httptools

from insula.gateway.wire import HeadTooLong, Request, WireLimits
from insula.kernel.errors import InsulaError, InvalidRequest, Overloaded, TooLarge


class Budget(Protocol):
    """Counts the request bytes that all connections of one place hold."""

    buffered: int


class RequestReader:
    """Feed it bytes; whole requests come out of ``queue`` in order, or a ``fault`` after which nothing does.

    ``on_header`` is the raw dictionary's own ``__setitem__``: a Python frame for every header of every call
    would cost more than all the limits. Names are folded when the head is complete.
    """

    __slots__ = (
        "_budget", "_building", "_fed", "_feeding", "_held", "_limits", "_parser", "_raw", "_size",
        "continues", "fault", "on_header", "queue",
    )  # fmt: skip

    def __init__(self, limits: WireLimits, budget: Budget) -> None:
        self._limits = limits
        self._budget = budget
        self._raw: dict[bytes, bytes] = {}
        self.on_header = self._raw.__setitem__
        self._building: Request | None = None
        self._held: list[bytes] = []
        self._size = 0  # bytes counted against the budget
        self._fed = 0  # bytes of the message that is being read, framing included
        self._feeding = 0  # the same, with those that are being fed
        self.queue: deque[Request] = deque()
        self.fault: InsulaError | None = None
        self.continues = False  # the caller waits to be told to send the body
        self._parser = httptools.HttpRequestParser(self)

    @property
    def awaiting(self) -> str:
        """What a request has begun but not brought yet: ``head``, ``body`` or nothing."""
        if self._building is None or self.fault is not None:
            return ""
        return "body" if self._building.method else "head"

    def body_begins(self) -> bool:
        """Whether this is the first time that a body is waited for."""
        request = self._building
        if request is None or request.awaited:
            return False
        request.awaited = True
        return True

    def feed(self, data: bytes) -> None:
        """Take ``data`` in."""
        self._feeding = len(data) + self._fed
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data, int(upgrade.args[0]))
        except httptools.HttpParserError as error:
            self._malformed(error)
        if self._building is not None:
            self._bound_framing(len(data))

    def release(self) -> None:
        """The bytes of the last request are not held any more."""
        self._budget.buffered -= self._size
        self._size = 0

    def drop(self) -> None:
        """Forget everything."""
        self._building = None
        self._held.clear()
        self.queue.clear()
        self.release()

    # httptools

    def on_message_begin(self) -> None:
        self._building = Request()
        self._raw.clear()
        self._fed = 0

    def on_url(self, part: bytes) -> None:
        if self._building is not None:
            self._building.target += part

    def on_headers_complete(self) -> None:
        request, limits = self._building, self._limits
        if request is None or self.fault is not None:
            return
        raw, parser = self._raw, self._parser
        if len(raw) > limits.headers or (
            self._feeding > limits.head_bytes and self._head() > limits.head_bytes
        ):
            self.fault = _long_head(limits)
            return
        request.headers = headers = {name.lower(): value for name, value in raw.items()}
        request.method = parser.get_method()
        request.http11 = parser.get_http_version() != "1.0"
        request.keep_alive = parser.should_keep_alive()
        length = headers.get(b"content-length")
        if length is not None and (len(length) > 12 or int(length) > limits.body_bytes):
            self.fault = _large_body(limits)
        elif headers.get(b"expect", b"").lower() == b"100-continue":
            self.continues = True

    def _head(self) -> int:
        """Return the bytes of the present head, punctuation left out."""
        target = self._building.target if self._building is not None else b""
        return len(target) + sum(map(len, self._raw)) + sum(map(len, self._raw.values()))

    def on_body(self, data: bytes) -> None:
        if self.fault is not None:
            return
        self._held.append(data)
        self._size += len(data)
        self._budget.buffered += len(data)
        if self._size > self._limits.body_bytes:
            self.fault = _large_body(self._limits)
        elif self._budget.buffered > self._limits.buffered_bytes:
            self.fault = Overloaded(
                "too much request data is being received at once",
                hint="send fewer large requests at a time",
                retry_after_s=1,
            )

    def on_message_complete(self) -> None:
        request, self._building = self._building, None
        self.continues = False
        if request is None or self.fault is not None:
            return
        if len(self.queue) >= self._limits.pipelined:
            self.fault = Overloaded("too many requests at once on one connection", retry_after_s=1)
            return
        held = self._held
        request.body = held[0] if len(held) == 1 else b"".join(held)
        held.clear()
        self.queue.append(request)

    # inside

    def _bound_framing(self, size: int) -> None:
        """Bound what is no body: a head that never ends, endless trailers, a body in crumbs."""
        limits = self._limits
        self._fed += size
        if self.awaiting == "head" and self._fed > limits.head_bytes:
            self.fault = _long_head(limits)
        elif self._fed > 2 * (limits.head_bytes + limits.body_bytes):
            self.fault = _large_body(limits)

    def _malformed(self, error: Exception) -> None:
        last = self.queue[-1] if self.queue else None
        if last is not None and not last.keep_alive:
            return  # bytes after a request that asked to close: nobody is to read them
        if self.fault is None:
            self.fault = InvalidRequest(f"this is not HTTP/1.1: {error}", hint="speak plain HTTP/1.1")

    def _decline(self, data: bytes, offset: int) -> None:
        """CONNECT is for others to refuse; another upgrade is declined: the request is read without it."""
        request = self.queue[-1] if self.queue else None
        if request is None or self.fault is not None or request.method == b"CONNECT":
            return
        self.queue.pop()
        kept = {name: value for name, value in request.headers.items() if name not in _UPGRADE}
        lines = b"".join(b"%b: %b\r\n" % item for item in kept.items())
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (request.method, request.target, lines)
        self._parser = httptools.HttpRequestParser(self)
        self.feed(head + data[offset:])


_UPGRADE = frozenset({b"upgrade", b"connection", b"http2-settings"})


def _long_head(limits: WireLimits) -> InsulaError:
    return HeadTooLong(
        f"the request's head is longer than {limits.head_bytes} bytes or {limits.headers} headers",
        hint="send fewer or shorter headers",
    )


def _large_body(limits: WireLimits) -> InsulaError:
    return TooLarge(
        f"the request body is larger than {limits.body_bytes} bytes", hint="send less at once", field="body"
    )
