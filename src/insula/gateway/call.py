"""One governed model call in flight, from dispatch to the last byte.

Driven by callbacks from both sides, without a task of its own: the model server's answer comes in as a
``Sink``, the caller's fate as an ``Exchange``. Whatever happens, it ends once: the reservation is settled,
one usage event is written, and only when that is durable does the answer's last byte leave.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from insula.gateway.json_text import read_object
from insula.gateway.sse import StreamScan
from insula.gateway.upstream_errors import compressed, too_large, translate, unreadable
from insula.kernel.errors import InsulaError, InvalidRequest, Overloaded
from insula.usage import Tokens

if TYPE_CHECKING:
    from insula.gateway.ask import Ask
    from insula.gateway.caller import Identity
    from insula.gateway.connection import Connection
    from insula.gateway.pipeline import Pipeline
    from insula.models import Endpoint, Flight

End = Literal["ok", "client_abort", "upstream_error"]
Source = Literal["provider", "estimated", "partial"]
_LONGEST_ANSWER = 32 * 1024 * 1024
_LONGEST_ERROR = 64 * 1024
_PROGRESS_EVERY = 64


class ModelCall:
    """A call that was admitted. ``reserved_output`` is the estimate its reservation holds."""

    __slots__ = (
        "_answer", "_connection", "_error", "_flight", "_headers", "_next_progress", "_over", "_parts",
        "_pipeline", "_scan", "_size", "_status", "ask", "endpoint", "identity", "request_id",
        "reserved_output", "site", "started_at", "started_us",
    )  # fmt: skip

    def __init__(
        self,
        pipeline: Pipeline,
        connection: Connection,
        identity: Identity,
        ask: Ask,
        endpoint: Endpoint,
        request_id: str,
        reserved_output: int,
        started: tuple[float, int],
    ) -> None:
        self._pipeline = pipeline
        self._connection: Connection | None = connection
        self.site = connection.site
        self.identity = identity
        self.ask = ask
        self.endpoint = endpoint
        self.request_id = request_id
        self.reserved_output = reserved_output
        self.started_at, self.started_us = started
        self._flight: Flight | None = None
        self._scan: StreamScan | None = None
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._answer = b""
        self._error: InsulaError | None = None
        self._next_progress = _PROGRESS_EVERY
        self._over = False

    def depart(self, flight: Flight) -> None:
        """Keep hold of the way to stop the call."""
        if self._over:
            flight.cancel()
        else:
            self._flight = flight

    # Sink

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self._status = status
        self._headers = headers
        if headers.get(b"content-encoding", b"identity") != b"identity":
            self._stop(compressed())
        elif status == 200 and self.ask.stream and b"text/event-stream" in headers.get(b"content-type", b""):
            self._scan = StreamScan(self.ask.usage_wanted)
            if self._connection is not None:
                self._connection.begin_stream(self._pipeline.head_lines(self))

    def on_data(self, data: bytes) -> None:
        scan = self._scan
        if scan is None:
            self._collect(data)
            return
        try:
            shown = scan.feed(data)
        except InsulaError as error:
            self._stop(error)
            return
        if shown and self._connection is not None:
            self._connection.stream(shown)
        if scan.events >= self._next_progress:
            self._next_progress = scan.events + _PROGRESS_EVERY
            self._pipeline.governor.progress(self.request_id, self.ask.input_tokens + scan.tokens())

    def on_end(self) -> None:
        self._flight = None
        if self._scan is not None:
            self._stream_ended(self._scan)
        elif self._status == 200:
            self._answered(b"".join(self._parts))
        else:
            self._fail(translate(self._status, self._headers, b"".join(self._parts)))

    def on_failed(self, error: InsulaError) -> None:
        self._flight = None
        self._fail(error)

    # Exchange

    def gone(self) -> None:
        """The caller left: stop the server at once; what was streamed is paid for."""
        self._connection = None
        if self._over:
            return
        if self._flight is not None:
            self._flight.cancel()
        self._finish("client_abort", *self._streamed(abandoned=True))

    def pause(self) -> None:
        if self._flight is not None:
            self._flight.pause()

    def resume(self) -> None:
        if self._flight is not None:
            self._flight.resume()

    # the ways to end

    def _collect(self, data: bytes) -> None:
        self._size += len(data)
        if self._status == 200 and self._size > _LONGEST_ANSWER:
            self._stop(too_large())
        elif self._status == 200 or self._size <= _LONGEST_ERROR:
            self._parts.append(data)

    def _stop(self, error: InsulaError) -> None:
        """The server's answer is of no use: end the call from our side."""
        if self._flight is not None:
            self._flight.cancel()
        self._fail(error)

    def _answered(self, answer: bytes) -> None:
        usage = _usage_of(answer)
        if usage is None:
            self._fail(unreadable())
            return
        self._answer = answer
        tokens, source = self._figures(usage, -(-len(answer) // 4))
        self._finish("ok", tokens, source)

    def _stream_ended(self, scan: StreamScan) -> None:
        scan.finish()
        tokens, source = self._figures(scan.usage, scan.tokens())
        if scan.failed:
            self._finish("upstream_error", tokens, "partial")
        else:
            self._finish("ok", tokens, source)

    def _fail(self, error: InsulaError) -> None:
        if self._over:
            return
        self._error = error
        self._finish("upstream_error", *self._streamed(abandoned=False))

    def _streamed(self, *, abandoned: bool) -> tuple[Tokens, Source]:
        """Return what a call that was cut short costs.

        A stream: its input and what was streamed. No stream: nothing if the server failed; what was
        reserved if the caller left, since the server may well have finished.
        """
        scan = self._scan
        if scan is not None:
            return self._figures(scan.usage, scan.tokens())[0], "partial"
        if not abandoned:
            return Tokens(), "estimated"
        output = 0 if self.ask.stream else self.reserved_output
        return Tokens(input=self.ask.input_tokens, output=output), "estimated"

    def _figures(self, usage: dict[str, Any] | None, output_estimate: int) -> tuple[Tokens, Source]:
        if usage:
            try:
                return Tokens.from_openai(usage), "provider"
            except InvalidRequest:
                pass
        return Tokens(input=self.ask.input_tokens, output=output_estimate), "estimated"

    def _finish(self, end: End, tokens: Tokens, source: Source) -> None:
        """Settle and put on the books; the answer goes out when that is durable."""
        self._over = True
        future = self._pipeline.conclude(self, end, tokens, source)
        future.add_done_callback(self._on_the_books)

    def _on_the_books(self, future: asyncio.Future[Any]) -> None:
        failed = future.cancelled() or future.exception() is not None
        self._pipeline.concluded(self, failed)
        connection, self._connection = self._connection, None
        if connection is None:
            return
        error = self._error
        if failed:
            error = Overloaded("the call could not be put on the books", hint="try again", retry_after_s=1)
        if self._scan is not None:
            self._end_stream(connection, self._scan, error)
        elif error is not None:
            self._pipeline.refuse(connection, error, self.identity, self.request_id)
        else:
            connection.reply(200, self._pipeline.head_lines(self, json=True), self._answer)

    def _end_stream(self, connection: Connection, scan: StreamScan, error: InsulaError | None) -> None:
        if error is None:
            connection.end_stream(scan.held)
        else:
            connection.break_stream(self._pipeline.stream_error(error, self.request_id))


def _usage_of(answer: bytes) -> dict[str, Any] | None:
    """Return the usage of a whole answer, ``{}`` if it carries none, ``None`` if it is no JSON object."""
    body = read_object(answer)
    if body is None:
        return None
    usage = body.get("usage")
    return usage if isinstance(usage, dict) else {}
