"""One connection to a model server: HTTP/1.1, one exchange at a time, kept alive between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import httptools

from insula.kernel.errors import InsulaError, ModelFailed

_HEAD_BYTES = 64 * 1024


def _nowhere(_data: bytes) -> None:
    """Where bytes go that nobody waits for."""


class Owner(Protocol):
    """The flight that a connection is working for."""

    def head(self, status: int, headers: dict[bytes, bytes]) -> Callable[[bytes], None]:
        """Take the head; return where the body goes, part by part."""
        ...

    def ended(self, reusable: bool) -> None: ...

    def lost(self, error: InsulaError, untouched: bool) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """Parses responses for whoever owns the connection; idle, it only waits to be used or closed."""

    __slots__ = (
        "_clean", "_delimited", "_deliver", "_done", "_head_bytes", "_headers", "_parser", "_paused",
        "_status", "heard", "idle_since", "owner", "reused", "touched", "transport",
    )  # fmt: skip

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.owner: Owner | None = None
        self.reused = False
        self.touched = False  # a byte of the current response has arrived
        self.heard = False  # a byte has arrived since somebody last looked
        self._deliver: Callable[[bytes], None] = _nowhere
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._status = 0
        self._head_bytes = 0
        self._delimited = False
        self._paused = False
        self._done = False
        self._clean = True  # the framing allows another exchange

    def send(self, owner: Owner, request: bytes) -> None:
        """Begin an exchange: write ``request`` and report the response to ``owner``."""
        assert self.owner is None and self.transport is not None
        self.owner = owner
        self.touched = False
        self._status = 0
        self._done = False
        self.transport.write(request)

    def usable(self) -> bool:
        """Whether an exchange may begin here."""
        return self.transport is not None and not self.transport.is_closing() and self.owner is None

    def pause(self) -> None:
        if not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()

    def abort(self) -> None:
        """Close at once and tell nobody."""
        self.owner = None
        self._deliver = _nowhere
        if self.transport is not None:
            self.transport.abort()

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.owner is None:  # an unasked-for byte on an idle connection: it is of no use any more
            self.abort()
            return
        self.touched = self.heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._break("its answer is not HTTP")
        else:
            if self._done:
                self._finish(self._clean)
            elif not self._status and len(data) + self._head_bytes > _HEAD_BYTES:
                self._break("its headers are too long")
            elif not self._status:
                self._head_bytes += len(data)

    def eof_received(self) -> bool:
        if self.owner is not None and self._status and not self._delimited and not self._done:
            self._finish(reusable=False)  # a body that runs until the connection closes
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self.transport = None
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.lost(ModelFailed("the model server closed the connection early"), not self.touched)

    # httptools

    def on_message_begin(self) -> None:
        self._headers = {}
        if self._done:  # a second answer to one question
            self._clean = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self.owner is None or self._done:  # interim answers say nothing
            return
        self._status = status
        self._head_bytes = 0
        headers = self._headers
        self._delimited = b"content-length" in headers or b"transfer-encoding" in headers
        self._deliver = self.owner.head(status, headers)

    def on_body(self, data: bytes) -> None:
        if self.owner is not None and not self._done:
            self._deliver(data)

    def on_message_complete(self) -> None:
        if self._status and not self._done:
            self._done = True
            self._clean = self._parser.should_keep_alive()

    def _finish(self, reusable: bool) -> None:
        owner, self.owner = self.owner, None
        self._deliver = _nowhere
        self.resume()
        self.reused = True
        if not reusable:
            self.abort()
        if owner is not None:
            owner.ended(reusable)

    def _break(self, why: str) -> None:
        owner, self.owner = self.owner, None
        if self.transport is not None:
            self.transport.abort()
        if owner is not None:
            owner.lost(ModelFailed(f"the model server cannot be understood: {why}"), False)
