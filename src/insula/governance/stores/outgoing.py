"""What the store has yet to acknowledge: kept while it is away, sent again when it is back.

Every figure is cumulative and every call has an id, so that what is sent twice counts once. There is at most
one note for each call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import structlog

from insula.governance.stores.call import Call, Note, What

_log = structlog.get_logger()

MOST: Final = 200_000
"""Notes that are kept. A gateway with more admits nothing new until the store has caught up."""

MARK_MS: Final = 60_000
"""How long the store remembers that a call ended."""

_FAILURES: Final = 3
_MARK_US: Final = MARK_MS * 1_000
_RECENT_US: Final = 2_000_000


class Outgoing:
    """Notes by call. ``send`` transmits one; it is asked only while the store can be reached."""

    def __init__(self, clock_us: Callable[[], int], send: Callable[[Note], None]) -> None:
        self._clock_us = clock_us
        self._send = send
        self._notes: dict[bytes, Note] = {}
        self._empty: asyncio.Event | None = None
        self._ended: deque[tuple[int, Note]] = deque()

    async def drained(self) -> None:
        """Return when the store has acknowledged everything."""
        if self._notes:
            self._empty = asyncio.Event()
            await self._empty.wait()

    def __len__(self) -> int:
        return len(self._notes)

    def __contains__(self, name: bytes) -> bool:
        return name in self._notes

    @property
    def full(self) -> bool:
        """Whether nothing new should be admitted."""
        return len(self._notes) >= MOST

    def tell(self, call: Call, what: What, *, up: bool) -> None:
        """Note how far a call is. Progress that overtakes progress under way leaves when that is done."""
        note = self._notes.get(call.name)
        if note is not None and note.final:
            return
        if note is not None and what == "progress":
            note.used = call.used
            if note.told_us is not None:
                note.stale = True
                return
        else:
            note = self._notes[call.name] = Note(call, what, call.used)
        if up:
            self.transmit(note)

    def book(self) -> None:
        """What has ended by now is in the books."""
        for note in self._notes.values():
            note.booked = note.booked or note.final

    def transmit(self, note: Note) -> None:
        """Send a note, and remember when."""
        note.told_us = self._clock_us()
        note.stale = False
        self._send(note)

    def acknowledge(self, note: Note, *, up: bool) -> None:
        """The store has taken a note in."""
        if self._notes.get(note.name) is not note:
            return
        if note.stale and up:
            self.transmit(note)
            return
        del self._notes[note.name]
        if not self._notes and self._empty is not None:
            self._empty.set()
        if note.what == "settle":
            now = self._clock_us()
            self._ended.append((now, note))
            while self._ended[0][0] + _RECENT_US < now:
                self._ended.popleft()

    def again_or_never(self, note: Note, error: str) -> None:
        """The store is there but cannot take a note in: try again, and after that give it up, aloud."""
        note.failures += 1
        if note.failures < _FAILURES:
            self.transmit(note)
        else:
            _log.error("limits_store_took_no_note", call=note.call.rid, what=note.what, error=error[:200])
            self.acknowledge(note, up=False)

    def again(self, *, changed: bool, lost: bool) -> Iterator[Note]:
        """Yield what is to be sent now that the store is back.

        If the server changed under way, its last writes may be gone: what ended lately is told again, and
        the store is first told of the call itself, unless it might have forgotten that the call ended.
        """
        now = self._clock_us()
        if changed and not lost:
            for at, note in self._ended:
                if at + _RECENT_US >= now and note.name not in self._notes:
                    self._notes[note.name] = note
        self._ended.clear()
        for note in list(self._notes.values()):
            if note.what == "settle" and changed:
                fresh = note.told_us is None or note.told_us + _MARK_US // 2 > now
                note.call.registered = note.call.registered and not (lost or fresh)
            yield note
