"""The outbox: usage events are on the disk before the call they bill has ended.

One thread writes. It takes everything that waits, writes it as one batch and syncs once (group commit), then
wakes the loop once. Events stay listed here until the books have them; a segment is removed when all of its
events are in the books. After a crash the segments are read again, and the books drop what they already have.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import queue
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from insula.kernel.durable import sync_directory
from insula.kernel.errors import InvalidRequest, Misconfigured, Overloaded, UnavailableError
from insula.usage.event import UsageEvent
from insula.usage.segment import SUFFIX, Segment, frame, read

_log = structlog.get_logger()

SEGMENT_BYTES = 1 << 20
_MOST_WAITING = 100_000
_ENOUGH_PER_BATCH = 1_024


class Entry(NamedTuple):
    """An event on its way to the disk; ``event`` is ``None`` for a marker that only wants to be passed."""

    event: UsageEvent | None
    done: asyncio.Future[None]


class Durable(NamedTuple):
    """An event on the disk, and the segment that holds it."""

    event: UsageEvent
    segment: Path


class Outbox:
    """Belongs to one event loop and owns ``directory``. Raises ``Misconfigured`` if another process does."""

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._lock = _lock(directory)
        self._leftovers = sorted(directory.glob(f"*{SUFFIX}"))
        self._names = itertools.count(_last_number(directory) + 1)
        self._queue: queue.SimpleQueue[list[Entry] | None] = queue.SimpleQueue()
        self._gathered: list[Entry] = []
        self._waiting = 0
        self._durable: deque[Durable] = deque()
        self._filling: Path | None = None
        self._filled: deque[Path] = deque()
        self._segment: Segment | None = None
        self._thread: threading.Thread | None = None
        self.failure: str | None = None
        self.arrived = asyncio.Event()

    def start(self) -> None:
        """Begin to write, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_batches, name="usage-outbox", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Write what waits, then end the thread and let go of the directory."""
        if self._thread is not None:
            self._hand_over()
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            await asyncio.sleep(0)  # the last batch resolves its futures in a callback that is already queued
            self._thread = None
        if self._segment is not None:
            self._segment.close()
            if not self._durable:
                self._segment.path.unlink(missing_ok=True)
            self._segment = None
        os.close(self._lock)

    def append(self, event: UsageEvent) -> asyncio.Future[None]:
        """Return a future that is done when ``event`` is on the disk.

        It fails with ``UnavailableError`` when the event could not be written: then it is not counted.
        """
        done = self._loop.create_future()
        if self._waiting + len(self._durable) >= _MOST_WAITING:
            done.set_exception(_too_far_behind())
            return done
        self._gather(Entry(event, done))
        return done

    async def sync(self) -> None:
        """Return when everything appended so far is on the disk, or was refused.

        After a failure this also tries the disk again: ``failure`` then says how it went.
        """
        passed = self._loop.create_future()
        self._gather(Entry(None, passed))
        await passed

    def _gather(self, entry: Entry) -> None:
        """Keep ``entry`` until the loop's turn is over: the thread is woken once for all of a turn."""
        self._waiting += 1
        self._gathered.append(entry)
        if len(self._gathered) == 1:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    def peek(self, most: int) -> list[Durable]:
        """Return the oldest events that the books do not have yet."""
        return list(itertools.islice(self._durable, most))

    def drop(self, booked: int) -> None:
        """Forget the ``booked`` oldest events: the books have them now."""
        for _ in range(booked):
            self._durable.popleft()
        self._remove_booked()

    def leftovers(self) -> Iterator[tuple[Path, list[UsageEvent]]]:
        """Yield the segments of an earlier process, oldest first, with their events. Blocking."""
        for path in self._leftovers:
            yield path, _read_leftover(path)

    def discard(self, path: Path) -> None:
        """Remove a leftover whose events the books have. Blocking."""
        path.unlink(missing_ok=True)
        sync_directory(self._directory)

    def _write_batches(self) -> None:
        while True:
            batch, last = self._take()
            failure: OSError | None = None
            if self.failure is not None or any(entry.event is not None for entry in batch):
                failure = self._write(batch)
            if batch:
                self._report(batch, failure)
            if last:
                return

    def _take(self) -> tuple[list[Entry], bool]:
        """Wait for entries, then take what else is there."""
        batch: list[Entry] = []
        gathered = self._queue.get()
        while gathered is not None:
            batch += gathered
            if len(batch) >= _ENOUGH_PER_BATCH:
                return batch, False
            try:
                gathered = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _write(self, batch: list[Entry]) -> OSError | None:
        try:
            self._open().write(b"".join(frame(event.pack()) for event, _ in batch if event is not None))
        except OSError as failure:
            # A file that failed once is not trusted again: the kernel may have dropped the pages.
            if self._segment is not None:
                self._segment.size = 0
            return failure
        return None

    def _open(self) -> Segment:
        """Return the segment to write to, a new one when the last is full."""
        if self._segment is None or self._segment.full:
            path = self._directory / f"{next(self._names):012d}{SUFFIX}"
            fresh = Segment(path, self._segment_bytes)
            if self._segment is not None:
                self._segment.close()
            self._segment = fresh
        return self._segment

    def _report(self, batch: list[Entry], failure: OSError | None) -> None:
        path = self._segment.path if self._segment is not None else None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._resolve, batch, path, failure)

    def _resolve(self, batch: list[Entry], segment: Path | None, failure: OSError | None) -> None:
        """Tell the callers, on the loop."""
        self._waiting -= len(batch)
        self._note(failure, sum(entry.event is not None for entry in batch))
        if failure is None and segment is not None and segment != self._filling:
            self._begin(segment)
        for event, done in batch:
            if event is not None and failure is None and segment is not None:
                self._durable.append(Durable(event, segment))
            if done.done():
                continue
            if event is not None and failure is not None:
                done.set_exception(unwritten(failure.strerror))
            else:
                done.set_result(None)
        self.arrived.set()

    def _begin(self, segment: Path) -> None:
        """Batches arrive in the order they were written: the segment before this one takes no more."""
        if self._filling is not None:
            self._filled.append(self._filling)
        self._filling = segment
        self._remove_booked()

    def _remove_booked(self) -> None:
        """Remove filled segments, oldest first, up to the one that holds the oldest event not yet booked."""
        needed = self._durable[0].segment if self._durable else None
        while self._filled and self._filled[0] != needed:
            self._filled.popleft().unlink(missing_ok=True)

    def _note(self, failure: OSError | None, events: int) -> None:
        if failure is not None and events:
            _log.error("usage_not_recorded", reason=failure.strerror, events=events)
        self.failure = None if failure is None else str(failure.strerror)


def _read_leftover(path: Path) -> list[UsageEvent]:
    contents = read(path)
    events: list[UsageEvent] = []
    unreadable = contents.broken
    for packed in contents.events:
        try:
            events.append(UsageEvent.unpack(packed))
        except InvalidRequest:
            unreadable += 1
    if unreadable:
        kept = path.with_suffix(".unreadable")
        kept.write_bytes(path.read_bytes())
        kept.chmod(0o600)
        _log.error("usage_unreadable", segment=path.name, kept=kept.name, events=unreadable)
    return events


def _lock(directory: Path) -> int:
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Misconfigured(
            "another process writes usage in this home", hint="stop it, or choose another home", field="home"
        ) from None
    return fd


def _last_number(directory: Path) -> int:
    """Return the highest number that a segment here ever had, kept ones included."""
    return max((int(path.stem) for path in directory.glob("*.*") if path.stem.isdigit()), default=0)


def unwritten(reason: str | None) -> UnavailableError:
    """Return the error of a call whose usage cannot be recorded."""
    return UnavailableError(
        f"the usage of this call could not be recorded: {reason}",
        hint="the operator has to make room on the platform's disk; then try again",
        retry_after_s=5.0,
    )


def _too_far_behind() -> Overloaded:
    return Overloaded(
        "usage is recorded more slowly than it arrives", hint="try again shortly", retry_after_s=1.0
    )
