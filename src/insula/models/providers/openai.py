"""Calls to a server with the OpenAI wire format: a pool of kept connections, and the flights on them."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from insula.kernel.errors import InsulaError, ModelFailed, ModelTimedOut, Overloaded
from insula.models.providers.connection import UpstreamConnection
from insula.models.providers.contract import Sink

_SWEEP_S = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how much of everything (seconds, connections)."""

    connect_s: float = 5.0
    first_byte_s: float = 600.0
    between_bytes_s: float = 120.0
    idle_s: float = 55.0
    connections: int = 512
    idle_connections: int = 64


class Upstream:
    """One endpoint's connections. The request is built here from nothing: no header of a caller passes."""

    def __init__(self, url: str, key: str | None = None, patience: Patience | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._secure else 80)
        self._path = parts.path.rstrip("/").encode()
        self._fixed = _fixed_headers(parts.netloc, key)
        self._tls: ssl.SSLContext | None = None
        self.patience = patience or Patience()
        self._idle: deque[UpstreamConnection] = deque()
        self._flights: set[UpstreamFlight] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"Upstream({self._host}:{self._port})"

    def send(self, route: bytes, body: bytes, sink: Sink) -> UpstreamFlight:
        """POST ``body`` (JSON) to ``route`` (as ``b'/chat/completions'``); the answer goes to ``sink``.

        Must be called on the event loop. Never raises for what the server does: ``sink.on_failed`` tells.
        """
        request = b"POST %b%b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (
            self._path, route, self._fixed, len(body), body,
        )  # fmt: skip
        flight = UpstreamFlight(self, sink, request)
        self._flights.add(flight)
        if self._sweeper is None:
            self._sweep()
        flight.start()
        return flight

    def retire(self) -> None:
        """Keep no connection any more; what is in flight may finish."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    def close(self) -> None:
        """Fail what is in flight and close every connection."""
        self.retire()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for flight in list(self._flights):
            flight.fail(ModelFailed("the endpoint is gone"))

    # for flights

    def take_idle(self) -> UpstreamConnection | None:
        """Return the warmest usable connection, or ``None``."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable():
                return connection
        return None

    def give_back(self, connection: UpstreamConnection, now: float) -> None:
        """Keep a connection that finished cleanly."""
        if self._closed or len(self._idle) >= self.patience.idle_connections:
            connection.abort()
            return
        connection.idle_since = now
        self._idle.append(connection)

    def forget(self, flight: UpstreamFlight) -> None:
        self._flights.discard(flight)

    def full(self) -> bool:
        return len(self._flights) > self.patience.connections

    async def connect(self) -> UpstreamConnection:
        """Open a connection. Raises ``ModelFailed`` or ``ModelTimedOut``."""
        options: dict[str, Any] = {}
        if self._secure:
            self._tls = self._tls or ssl.create_default_context()
            options = {"ssl": self._tls, "server_hostname": self._host}
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.patience.connect_s):
                _, connection = await loop.create_connection(
                    UpstreamConnection, self._host, self._port, **options
                )
        except TimeoutError:
            raise ModelTimedOut("the model server did not accept a connection in time") from None
        except (OSError, ssl.SSLError) as error:
            raise ModelFailed(f"the model server cannot be reached ({type(error).__name__})") from None
        return connection

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._idle and now - self._idle[0].idle_since > self.patience.idle_s:
            self._idle.popleft().abort()
        for flight in [flight for flight in self._flights if flight.overdue(now)]:
            flight.fail(ModelTimedOut("the model server did not answer in time"))
        self._sweeper = loop.call_later(_SWEEP_S, self._sweep) if self._flights or self._idle else None


class UpstreamFlight:
    """One call: takes a connection, is retried once if a kept connection proved dead before any answer."""

    __slots__ = (
        "_connecting",
        "_connection",
        "_deadline",
        "_loop",
        "_paused",
        "_request",
        "_sink",
        "_upstream",
    )

    def __init__(self, upstream: Upstream, sink: Sink, request: bytes) -> None:
        self._upstream = upstream
        self._sink: Sink | None = sink
        self._request = request
        self._connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + upstream.patience.first_byte_s
        self._paused = False

    def start(self) -> None:
        """Send on an idle connection, or open one."""
        connection = self._upstream.take_idle()
        if connection is not None:
            self._board(connection)
        elif self._upstream.full():
            self._loop.call_soon(
                self.fail, Overloaded("the endpoint has no free connection", retry_after_s=1)
            )
        else:
            self._connecting = self._loop.create_task(self._connect())

    def cancel(self) -> None:
        self._sink = None
        self._release()

    def pause(self) -> None:
        self._paused = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        self._paused = False
        if self._connection is not None:
            self._connection.resume()

    def overdue(self, now: float) -> bool:
        """Whether the server is late; time spent paused is the caller's, not the server's."""
        connection = self._connection
        if self._paused or (connection is not None and connection.heard):
            self._deadline = now + self._upstream.patience.between_bytes_s
            if connection is not None:
                connection.heard = False
        return now > self._deadline

    def fail(self, error: InsulaError) -> None:
        """End the call with ``error``."""
        sink, self._sink = self._sink, None
        self._release()
        if sink is not None:
            sink.on_failed(error)

    # from the connection

    def head(self, status: int, headers: dict[bytes, bytes]) -> Callable[[bytes], None]:
        self._request = b""
        sink = self._sink
        assert sink is not None  # without one the connection would be closed
        sink.on_head(status, headers)
        return sink.on_data

    def ended(self, reusable: bool) -> None:
        connection, self._connection = self._connection, None
        self._upstream.forget(self)
        if reusable and connection is not None:
            self._upstream.give_back(connection, self._loop.time())
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.on_end()

    def lost(self, error: InsulaError, untouched: bool) -> None:
        connection, self._connection = self._connection, None
        if untouched and connection is not None and connection.reused and self._request:
            self._connecting = self._loop.create_task(self._connect())
        else:
            self.fail(error)

    async def _connect(self) -> None:
        try:
            connection = await self._upstream.connect()
        except InsulaError as error:
            self._connecting = None
            self.fail(error)
            return
        self._connecting = None
        if self._sink is None:
            connection.abort()
        elif not connection.usable():
            self.fail(ModelFailed("the model server closed the connection at once"))
        else:
            self._board(connection)

    def _board(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.send(self, self._request)
        if self._paused:
            connection.pause()

    def _release(self) -> None:
        self._upstream.forget(self)
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()


def _fixed_headers(netloc: str, key: str | None) -> bytes:
    lines = [
        f"host: {netloc}",
        "content-type: application/json",
        "accept: application/json, text/event-stream",
        "accept-encoding: identity",
        "user-agent: insula",
    ]
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    return ("\r\n".join(lines) + "\r\n").encode("ascii")
