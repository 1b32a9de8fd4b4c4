"""One run's journal while it is going: one writer, group commit, and followers that cannot fall behind.

A line is shown only after it is on the disk, so nobody ever saw a line that a crash then took back, and a
follower needs no buffer: it reads pages from the disk and waits for the next number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from insula.kernel.clock import Clock
from insula.kernel.ids import RunId
from insula.runs.book import RunBook
from insula.runs.record import Change, Line
from insula.runs.states import RunState

PENDING_CHARS_MAX = 64 * 1024
"""Output that may wait for the disk before its reader is held back, and about the most in one line."""

_PAUSE_S = 0.01


class JournalClosed(RuntimeError):
    """Somebody else ended the run: this writer has lost it and must not go on."""


class Journal:
    """The writer. All methods belong to one event loop."""

    def __init__(self, run: RunId, book: Callable[[], RunBook], clock: Clock) -> None:
        self.state = RunState.QUEUED
        self.attempt = 0
        self._run = run
        self._book = book
        self._clock = clock
        self._seq = 0
        self._shown = 0
        self._pending: list[Line] = []
        self._pieces: list[str] = []
        self._pending_chars = 0
        self._writing = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._moved = asyncio.Event()

    def continue_from(self, seq: int, state: RunState, attempt: int) -> None:
        """Say where the run stands on the disk; before any other call."""
        assert not self._seq
        self._seq = self._shown = seq
        self.state = state
        self.attempt = attempt

    @property
    def shown(self) -> int:
        """The number of the newest line that is on the disk."""
        return self._shown

    def note(self, event: str, **detail: Any) -> None:
        """Add a line about the run; it reaches the disk with the next write."""
        self._add("journal", {"event": event, **detail})

    async def output(self, stream: str, text: str) -> None:
        """Add a piece of the agent's output; waits while too much of it is unwritten.

        Pieces of one stream that come between two writes become one line: an agent that writes byte by byte
        does not make a line of every byte.
        """
        if not self._continues(stream):
            self._add("output", {"stream": stream, "text": ""})
        self._pieces.append(text)
        self._pending_chars += len(text)
        if self._pending_chars > PENDING_CHARS_MAX:
            await self.flush()

    async def change(
        self, after: RunState, columns: dict[str, Any] | None = None, *, artifacts: Any = (), **detail: Any
    ) -> None:
        """Write a step of the state with every line before it. Raises ``JournalClosed``."""
        await _to_the_end(self._change(after, columns or {}, tuple(artifacts), detail))

    async def flush(self) -> None:
        """Write what waits."""
        await _to_the_end(self._flush())

    async def pump(self) -> None:
        """Write what comes, in batches, until cancelled."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(_PAUSE_S)
            await self.flush()

    async def beyond(self, seq: int, timeout_s: float) -> None:
        """Wait until a line after ``seq`` is on the disk, or ``timeout_s`` passed."""
        moved = self._moved
        if self._shown > seq:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await moved.wait()
        except TimeoutError:
            return

    def _continues(self, stream: str) -> bool:
        return bool(self._pieces) and self._pending[-1].data["stream"] == stream

    def _add(self, kind: str, data: dict[str, Any]) -> None:
        self._join()
        self._seq += 1
        self._pending.append(Line(self._seq, self._clock.now(), kind, self.attempt, data))
        self._wanted.set()

    def _join(self) -> None:
        """Put the collected pieces into the last line, which is of output whenever there are any."""
        if self._pieces:
            self._pending[-1].data["text"] = "".join(self._pieces)
            self._pieces = []

    def _take(self) -> list[Line]:
        self._join()
        lines, self._pending, self._pending_chars = self._pending, [], 0
        self._wanted.clear()
        return lines

    async def _change(
        self, after: RunState, columns: dict[str, Any], artifacts: Any, detail: dict[str, Any]
    ) -> None:
        async with self._writing:
            self._add("state", {"state": str(after), **detail})
            lines = self._take()
            change = Change(self.state, after, columns, artifacts)
            if not await asyncio.to_thread(self._write_change, change, lines):
                raise JournalClosed(self._run)
            self.state = after
            self._show(lines)

    async def _flush(self) -> None:
        async with self._writing:
            lines = self._take()
            if lines:
                await asyncio.to_thread(self._write_lines, lines)
                self._show(lines)

    def _show(self, lines: list[Line]) -> None:
        self._shown = lines[-1].seq
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _write_lines(self, lines: list[Line]) -> None:
        self._book().append(self._run, lines)

    def _write_change(self, change: Change, lines: list[Line]) -> bool:
        return self._book().change(self._run, change, lines)


async def _to_the_end(write: Coroutine[Any, Any, None]) -> None:
    """Await a write that must not be torn: cancelled halfway, a later write could overtake it on the disk."""
    await asyncio.shield(asyncio.ensure_future(write))
