"""The ledgers and their journal together: what is answered is written, what is written is done.

Who asks for tokens is answered only after the question is in the journal. What has happened already, a use
or an end, is done even when it cannot be written; from then on nothing new is answered until a complete
journal could be written again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from insula.governance.ledger.journal import Contents, Entry, Journal
from insula.governance.ledger.replay import Kept, replay
from insula.kernel.errors import Misconfigured, UnavailableError

_log = structlog.get_logger()

COMPACT_BYTES = 4 << 20
"""The least size of a journal that is worth being written anew."""


class Chronicle:
    """Owns ``directory``. Belongs to one thread; opening it and writing it anew block.

    Raises ``Misconfigured`` when another process keeps these ledgers, or another version wrote them.
    """

    def __init__(self, directory: Path, compact_bytes: int = COMPACT_BYTES) -> None:
        self._journal = Journal(directory)
        self._compact_bytes = compact_bytes
        self._compact_at = 0
        self.behind = False
        self.found = self._journal.read()
        self._tell(self.found)
        self.kept = self._replayed()

    def ask(self, entry: Entry) -> Any:
        """Write an operation, then do it. Raises ``UnavailableError``; then it is not done."""
        if self.behind:
            raise _unwritable("it lacks what happened before")
        try:
            self._journal.append(entry)
        except OSError as error:
            self._fall_behind(error)
            raise _unwritable(error.strerror) from error
        return self.kept.do(entry)

    def note(self, entry: Entry) -> Any:
        """Write what has happened if that can be done, and do it."""
        if not self.behind:
            try:
                self._journal.append(entry)
            except OSError as error:
                self._fall_behind(error)
        return self.kept.do(entry)

    def tidy(self, *, now: bool = False) -> None:
        """Write the journal anew when it has grown, or lacks something, or ``now``. A failure is logged."""
        if not now and not self.behind and self._journal.size <= self._compact_at:
            return
        try:
            self.compact()
        except OSError as error:
            _log.error("ledger_unwritable", error=error.strerror)
            self._compact_at = self._journal.size * 2

    def compact(self) -> None:
        """Write the shortest journal that says the same. Raises ``OSError``; then the old one stays."""
        self._journal.begin(self.kept.entries())
        self._compact_at = max(self._compact_bytes, self._journal.size * 8)
        if self.behind:
            self.behind = False
            _log.warning("ledger_writable_again")

    def flusher(self) -> Callable[[], None] | None:
        """Return a blocking function that makes the journal durable; ``None`` if there is nothing new."""
        return self._journal.flusher() if self._journal.dirty else None

    def close(self) -> None:
        """Let go of the directory."""
        self._journal.close()

    def _replayed(self) -> Kept:
        try:
            return replay(self.found.entries)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._journal.close()
            raise Misconfigured(
                f"the journal of the token ledgers cannot be read by this version: {error}",
                hint=f"start the version that wrote it, or move {self._journal.path} away to begin anew",
            ) from error

    def _tell(self, found: Contents) -> None:
        if found.broken:
            kept_as = str(self._journal.set_aside())
            _log.error("ledger_damaged", lines=found.broken[:20], count=len(found.broken), kept_as=kept_as)
        if found.torn:
            _log.warning("ledger_torn", told="what was cut off had not been answered")

    def _fall_behind(self, error: OSError) -> None:
        self.behind = True
        _log.error("ledger_unwritable", error=error.strerror)


def _unwritable(why: str | None) -> UnavailableError:
    return UnavailableError(
        f"the token ledger cannot be written: {why}",
        hint="free space on the disk that holds the platform's home",
        retry_after_s=1,
    )
