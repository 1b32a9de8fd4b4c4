"""One governed model call in flight, from dispatch to the last byte.

Driven by callbacks from both sides, without a task of its own: the model server's answer comes in as a
``Sink``, the caller's fate as an ``Exchange``. Whatever happens, it ends once: the reservation is settled,
one usage event is written, and only when that is durable does the answer's last byte leave.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from insula.gateway.cutting import cut_short
from insula.gateway.json_text import read_object
from insula.gateway.sse import StreamScan
from insula.gateway.upstream_errors import compressed, too_large, translate, unreadable
from insula.kernel.errors import InsulaError, InvalidRequest, Overloaded
from insula.usage import Tokens

if TYPE_CHECKING:
    from insula.gateway.admission import Admission
    from insula.gateway.ask import Ask
    from insula.gateway.caller import Identity
    from insula.gateway.connection import Connection
    from insula.gateway.pipeline import Pipeline
    from insula.models import Flight

End = Literal["ok", "length", "client_abort", "upstream_error"]
Source = Literal["provider", "estimated", "partial"]
_LONGEST_ANSWER = 32 * 1024 * 1024
_LONGEST_ERROR = 64 * 1024
_PROGRESS_EVERY = 64
_LIMITED = frozenset({429, 529})


class ModelCall:
    """A call that was admitted. ``bound`` is the most output that its budgets bear (``None``: no budget)."""

    __slots__ = (
        "_answer", "_connection", "_error", "_extending", "_flight", "_headers", "_next_progress", "_over",
        "_parts", "_pipeline", "_scan", "_size", "_status", "admission", "ask", "bound", "identity",
        "request_id", "sent_us", "site",
    )  # fmt: skip

    def __init__(
        self, pipeline: Pipeline, connection: Connection, admission: Admission, bound: int | None
    ) -> None:
        self._pipeline = pipeline
        self._connection: Connection | None = connection
        self.site = connection.site
        self.admission = admission
        self.identity: Identity = admission.identity
        self.ask: Ask = admission.ask
        self.request_id = admission.request_id
        self.bound = bound
        self.sent_us = pipeline.parts.clock.monotonic_us()
        self._flight: Flight | None = None
        self._scan: StreamScan | None = None
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._answer = b""
        self._error: InsulaError | None = None
        self._next_progress = _PROGRESS_EVERY
        self._extending = False
        self._over = False

    def depart(self, flight: Flight) -> None:
        """Keep hold of the way to stop the call."""
        if self._over:
            flight.cancel()
        else:
            self._flight = flight

    def give_up_connection(self) -> Connection:
        """Let go of the caller: the call waits for another turn."""
        connection, self._connection = self._connection, None
        assert connection is not None
        return connection

    def take_connection(self, connection: Connection) -> None:
        """Answer the caller after all."""
        self._connection = connection

    # Sink

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self._status = status
        self._headers = headers
        if headers.get(b"content-encoding", b"identity") != b"identity":
            self._stop(compressed())
        elif status == 200 and self.ask.stream and b"text/event-stream" in headers.get(b"content-type", b""):
            self._scan = StreamScan(self.ask.usage_wanted)
            self._scan.bound = self.bound
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
            self._pipeline.progress(self, scan.tokens())
        if scan.bound is not None and not self._extending:
            self._mind_the_bound(scan)

    def on_end(self) -> None:
        self._flight = None
        if self._scan is not None:
            if not self._scan.beyond:
                self._stream_ended(self._scan)
        elif self._status == 200:
            self._answered(b"".join(self._parts))
        elif self._status in _LIMITED and self._try_again():
            return
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

    # budgets

    def _mind_the_bound(self, scan: StreamScan) -> None:
        """Near the bound ask the budgets for more; at it, end the stream if they have none."""
        assert scan.bound is not None
        if (
            not scan.beyond
            and scan.tokens() + self._pipeline.estimating.ahead(self.admission) // 4 < scan.bound
        ):
            return
        answer = self._pipeline.extend(self, scan.bound)
        if isinstance(answer, asyncio.Future):
            self._extending = True
            if self._flight is not None and scan.beyond:
                self._flight.pause()
            answer.add_done_callback(self._extended_later)
        else:
            self._extended(scan, answer)

    def _extended_later(self, answer: asyncio.Future[int]) -> None:
        self._extending = False
        scan = self._scan
        if self._over or scan is None or scan.bound is None:
            return
        self._extended(scan, scan.bound if answer.exception() is not None else answer.result())
        if self._flight is not None:
            self._flight.resume()

    def _extended(self, scan: StreamScan, bound: int) -> None:
        """The budgets bear ``bound`` tokens of output: go on with what was kept, or end it here."""
        more = scan.bound is not None and bound > scan.bound
        scan.bound = self.bound = bound
        if not scan.beyond:
            return
        shown = scan.resume() if more else b""
        if shown and self._connection is not None:
            self._connection.stream(shown)
        if scan.beyond:
            self._cut(scan)
        elif self._flight is None and not self._over:
            self._stream_ended(scan)

    def _cut(self, scan: StreamScan) -> None:
        """End the stream as complete at the last token that the budgets bear."""
        if self._flight is not None:
            self._flight.cancel()
            self._flight = None
        tokens = Tokens(input=self.admission.read, output=min(scan.tokens(), self.bound or 0))
        scan.held = cut_short(scan.opening, tokens, copies=self.ask.copies, usage=self.ask.usage_wanted)
        self._finish("length", tokens, "partial")

    # the ways to end

    def _try_again(self) -> bool:
        """The server is at its limit and nothing was answered: wait for another turn, if there is time."""
        if self._connection is None or not self._pipeline.again(self, self._headers):
            return False
        self._over = True
        return True

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
        output = 0 if self.ask.stream else self.admission.reserved_output
        return Tokens(input=self.admission.read, output=output), "estimated"

    def _figures(self, usage: dict[str, Any] | None, output_estimate: int) -> tuple[Tokens, Source]:
        if usage:
            try:
                return Tokens.from_openai(usage), "provider"
            except InvalidRequest:
                pass
        return Tokens(input=self.admission.read, output=output_estimate), "estimated"

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
