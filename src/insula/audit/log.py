"""The audit log: append-only, hash-chained, one file per stream, anchored elsewhere.

An append is durable when it returns: the line is on disk, then the head (sequence number and hash) in the
head store. ``durable=False`` is for floods of refusals: the line is written at once, disk and head follow
within half a second or with the next durable append. What survives an attacker who can write files but
lacks the key is stated in docs/audit.md.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

from insula.audit.chain import Head, VerifyReport, verify_lines
from insula.audit.record import AuditRecord, Outcome, canonical, from_line, link, to_line
from insula.audit.stream import cut, is_torn, open_append, read_tail
from insula.kernel.clock import Clock, rfc3339
from insula.kernel.durable import sync_directory, write_all
from insula.kernel.errors import InvalidRequest

_STREAM = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
_FLUSH_S = 0.5
_LINE_BYTES = 65_536
PLATFORM = "platform"


class HeadStore(Protocol):
    """Where heads are anchored; apart from the files."""

    def get(self, chain: str) -> Head | None: ...
    def put(self, chain: str, seq: int, digest: str) -> None: ...
    def chains(self) -> tuple[str, ...]: ...


class _Stream:
    """What this process knows of one stream: the head it wrote last."""

    __slots__ = ("dirty", "lock", "opened", "path", "prev", "seq", "size")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.opened = False
        self.dirty = False
        self.seq, self.prev, self.size = 0, "", 0


class AuditLog:
    """Appends and verifies streams under ``directory``. One process at a time may append."""

    def __init__(self, directory: Path, key: bytes, heads: HeadStore, clock: Clock) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._key = key
        self._heads = heads
        self._clock = clock
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def append(
        self,
        stream: str,
        action: str,
        *,
        outcome: Outcome,
        actor: str,
        target: str = "",
        durable: bool = True,
        **details: Any,
    ) -> AuditRecord:
        """Append one record. ``details`` must be JSON values and hold no secret.

        Raises ``InvalidRequest`` for a malformed stream or details that are not JSON or too long.
        """
        state = self._stream(stream)
        with state.lock:
            self._open(stream, state)
            record = self._next(state, action, outcome, actor, target, details)
            self._write(state, record)
            if durable:
                self._anchor(stream, state)
            else:
                state.dirty = True
                self._flush_later()
        return record

    def flush(self) -> None:
        """Make every record so far durable and anchored."""
        for stream, state in list(self._streams.items()):
            with state.lock:
                if state.dirty:
                    self._anchor(stream, state)

    def close(self) -> None:
        """Flush and stop the timer. The log can still be used afterwards."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.flush()

    def verify(self, stream: str) -> VerifyReport:
        """Check every byte of ``stream`` and its anchor. A stream never written has nothing wrong with it."""
        state = self._stream(stream)
        with state.lock:
            if state.dirty:
                self._anchor(stream, state)
            return verify_lines(self._key, stream, _lines(state.path), self._heads.get(stream))

    def streams(self) -> tuple[str, ...]:
        """Return the names of all streams, those whose file is missing included."""
        files = {path.stem for path in self._directory.glob("*.jsonl")}
        return tuple(sorted(files | set(self._heads.chains())))

    def read(self, stream: str, after_seq: int = 0, limit: int = 100) -> list[AuditRecord]:
        """Return up to ``limit`` records after ``after_seq``, oldest first; what is no record is left out."""
        records = (_record(line) for line in _lines(self._stream(stream).path))
        wanted = (record for record in records if record is not None and record.seq > after_seq)
        return list(islice(wanted, limit))

    def _stream(self, stream: str) -> _Stream:
        if not isinstance(stream, str) or not _STREAM.fullmatch(stream):
            raise InvalidRequest(
                f"there can be no audit stream {str(stream)[:60]!r}",
                hint="use a tenant id or 'platform'",
                field="stream",
            )
        with self._lock:
            return self._streams.setdefault(stream, _Stream(self._directory / f"{stream}.jsonl"))

    def _open(self, stream: str, state: _Stream) -> None:
        """Bring ``state`` up to what is on disk, unless it still is."""
        if state.opened and _size(state.path) == state.size:
            return
        tail, head = read_tail(self._key, stream, state.path), self._known_head(stream, state)
        state.opened = True
        if is_torn(tail, head):
            torn = cut(state.path, tail)
            state.seq, state.prev, state.size = tail.seq, tail.hash, tail.size - len(tail.torn)
            self._write(state, self._next(state, "audit.repaired", "ok", PLATFORM, stream, torn))
            return
        state.seq, state.prev, state.size = tail.seq, tail.hash, tail.size
        if head is not None and (tail.seq < head[0] or not tail.readable):
            state.seq, state.prev = head  # the gap stays visible: what follows chains to what was anchored
        if tail.torn:
            self._raw(state, b"\n")

    def _known_head(self, stream: str, state: _Stream) -> Head | None:
        """The furthest record known to have existed: anchored, or written by this process a moment ago."""
        head = self._heads.get(stream)
        mine = (state.seq, state.prev) if state.opened and state.seq else None
        return max(filter(None, (head, mine)), key=itemgetter(0), default=None)

    def _next(
        self, state: _Stream, action: str, outcome: Outcome, actor: str, target: str, details: dict[str, Any]
    ) -> AuditRecord:
        body: dict[str, Any] = {
            "seq": state.seq + 1,
            "at": rfc3339(self._clock.now()),
            "action": action,
            "actor": actor,
            "outcome": outcome,
            "target": target,
            "details": details,
            "prev": state.prev,
        }
        try:
            if len(canonical(body)) > _LINE_BYTES:
                raise ValueError("too long")
            return AuditRecord(**body, hash=link(self._key, state.prev, body))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequest(f"audit details cannot be recorded: {error}", field="details") from error

    def _write(self, state: _Stream, record: AuditRecord) -> None:
        line = to_line(record)
        from_line(line)  # what cannot be read back must not be chained
        self._raw(state, line)
        state.seq, state.prev = record.seq, record.hash

    def _raw(self, state: _Stream, data: bytes) -> None:
        created = not state.path.exists()
        with open_append(state.path) as fd:
            write_all(fd, data)
        if created:
            sync_directory(self._directory)
        state.size += len(data)

    def _anchor(self, stream: str, state: _Stream) -> None:
        with open_append(state.path) as fd:
            os.fdatasync(fd)
        self._heads.put(stream, state.seq, state.prev)
        state.dirty = False

    def _flush_later(self) -> None:
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(_FLUSH_S, self._flush_now)
                self._timer.daemon = True
                self._timer.start()

    def _flush_now(self) -> None:
        with self._lock:
            self._timer = None
        self.flush()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _lines(path: Path) -> Iterator[bytes]:
    if path.exists():
        with path.open("rb") as file:
            yield from file


def _record(line: bytes) -> AuditRecord | None:
    try:
        return from_line(line)
    except (ValueError, TypeError, RecursionError):
        return None
