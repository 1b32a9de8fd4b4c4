"""Puts together what a caller sees of a run, from its entry in the index and its record."""

from __future__ import annotations

from dataclasses import replace

from insula.runs.adapters.index import Entry
from insula.runs.book import RunBook
from insula.runs.run import RunView, shown_result
from insula.runs.verdict import Cause, said_of

OUTPUT_CHARS_MAX = 1024 * 1024
"""The most of each stream that a view holds: its end. The whole is in the journal."""


def view_of_entry(entry: Entry) -> RunView:
    """Return what the index alone tells."""
    words = said_of(Cause(entry.cause)) if entry.cause else None
    return RunView(
        run=entry.run,
        tenant=entry.tenant,
        agent=entry.agent,
        state=entry.state,
        created_at=entry.created_at,
        finished_at=entry.finished_at,
        cause=entry.cause,
        reason=words,
    )


def view_of(book: RunBook, entry: Entry) -> RunView:
    """Return the whole view.

    Record and index disagree only while a run ends, or for good when its tenant was barred before the
    record could be written; then the index, which says that it ended, is right about the end.
    """
    record = book.find(entry.run)
    if record is None:
        return view_of_entry(entry)
    output = book.output(entry.run, record.attempt, OUTPUT_CHARS_MAX)
    whole = RunView(
        run=entry.run,
        tenant=entry.tenant,
        agent=entry.agent,
        state=record.state,
        created_at=record.created_at,
        backend=record.backend,
        exit_code=record.exit_code,
        output=output["stdout"],
        errors=output["stderr"],
        result=shown_result(record.result),
        usage=record.usage,
        cause=record.cause,
        reason=record.reason,
        hint=record.hint,
        started_at=record.started_at,
        finished_at=record.finished_at,
        attempt=record.attempt,
        artifacts=book.artifacts(entry.run),
        workspace_destroyed=record.started_at is not None and record.destroyed >= record.attempt,
        lane=str(record.lane),
    )
    if entry.state.terminal and not record.state.terminal:
        end = view_of_entry(entry)
        return replace(
            whole, state=end.state, cause=end.cause, reason=end.reason, finished_at=end.finished_at
        )
    return whole
