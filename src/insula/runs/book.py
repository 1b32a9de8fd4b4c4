"""The runs of one tenant: rows, journal, input and artifacts in its sealed space.

Rows and journal change in one transaction, so whoever reads the journal and whoever reads the row are told
the same story, whenever the platform died.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from weakref import WeakSet

from insula.governance.fairness import Lane
from insula.identity import Storage, VerifiedContext
from insula.kernel.errors import InsulaError, NotFound
from insula.kernel.ids import AgentName, RunId
from insula.runs.record import Change, Line, RunRecord
from insula.runs.run import ArtifactEntry, RunEvent, RunUsage
from insula.runs.states import RunState, advance
from insula.storage import SealedFile

_SCHEMA = (
    """create table if not exists runs (
        run text primary key, agent text not null, bundle text not null, request text not null,
        timeout_s real, created_at real not null, state text not null,
        attempt integer not null default 0, cancel_requested integer not null default 0,
        cause text, reason text, hint text, backend text, exit_code integer, result blob,
        calls integer not null default 0, input_tokens integer not null default 0,
        output_tokens integer not null default 0, cost_nanousd integer not null default 0,
        started_at real, finished_at real, destroyed integer not null default 0, input blob not null,
        lane text not null default 'interactive'
    ) without rowid""",
    """create table if not exists run_events (
        run text not null, seq integer not null, at real not null, kind text not null,
        attempt integer not null, data text not null, primary key (run, seq)
    ) without rowid""",
    """create table if not exists run_artifacts (
        run text not null, name text not null, size integer not null, data blob not null,
        primary key (run, name)
    )""",
)
_ROW = (
    "run, agent, bundle, request, timeout_s, created_at, state, attempt, cancel_requested, cause, reason,"
    " hint, backend, exit_code, result, calls, input_tokens, output_tokens, cost_nanousd, started_at,"
    " finished_at, destroyed, lane"
)
_CHANGEABLE = frozenset(_ROW.replace(" ", "").split(",")) - {
    "run",
    "agent",
    "bundle",
    "request",
    "created_at",
    "state",
    "lane",
}


class Spaces(Protocol):
    """Opens tenants' sealed spaces."""

    def open(self, context: VerifiedContext[Storage]) -> SealedFile: ...


class RunLost(InsulaError):
    """A run's record was not where the index said it is."""

    code = "run_lost"


class RunBook:
    """All of it is synchronous and touches the disk: call it from a worker thread."""

    def __init__(self, space: SealedFile) -> None:
        self._space = space

    @property
    def space(self) -> SealedFile:
        """The sealed space itself: the tenant's bundles lie in it too."""
        return self._space

    def prepare(self) -> None:
        """Create what is missing of the tables."""
        for statement in _SCHEMA:
            self._space.execute(statement)
        if not self._space.execute("select 1 from pragma_table_info('runs') where name = 'lane'"):
            self._space.execute("alter table runs add column lane text not null default 'interactive'")

    def create(self, record: RunRecord, data: bytes, lines: Iterable[Line]) -> None:
        """Write a new run with its input. An id that exists is refused by the primary key."""
        with self._space.transaction():
            self._space.execute(
                "insert into runs (run, agent, bundle, request, timeout_s, created_at, state, input, lane)"
                " values (?,?,?,?,?,?,?,?,?)",
                (
                    record.run,
                    record.agent,
                    record.bundle,
                    record.request,
                    record.timeout_s,
                    record.created_at,
                    record.state,
                    data,
                    record.lane,
                ),
            )
            self._append(record.run, lines)

    def find(self, run: RunId) -> RunRecord | None:
        """Return a run's record, or ``None``."""
        # The column list is a constant of this module.
        rows = self._space.execute(f"select {_ROW} from runs where run = ?", (run,))  # noqa: S608
        return _record(rows[0]) if rows else None

    def load(self, run: RunId) -> RunRecord:
        """Return a run's record. Raises ``RunLost``."""
        record = self.find(run)
        if record is None:
            raise RunLost("the record of this run is missing", hint="submit the run again")
        return record

    def input(self, run: RunId) -> bytes:
        """Return what the run was given."""
        return bytes(self._space.execute("select input from runs where run = ?", (run,))[0][0])

    def append(self, run: RunId, lines: Sequence[Line]) -> None:
        """Write journal lines."""
        with self._space.transaction():
            self._append(run, lines)

    def change(self, run: RunId, change: Change, lines: Sequence[Line]) -> bool:
        """Write journal lines and a step of the state; False, and nothing, if the run stands elsewhere."""
        advance(change.before, change.after)
        with self._space.transaction():
            if not self._step(run, change):
                return False
            self._append(run, lines)
            for name, data in change.artifacts:
                self._space.execute(
                    "insert or replace into run_artifacts values (?,?,?,?)", (run, name, len(data), data)
                )
        return True

    def request_cancel(self, run: RunId) -> None:
        """Remember that somebody wants this run to end; a restart honours it."""
        self._space.execute("update runs set cancel_requested = 1 where run = ?", (run,))

    def last_seq(self, run: RunId) -> int:
        """Return the number of the newest journal line, 0 when there is none."""
        return int(
            self._space.execute("select coalesce(max(seq), 0) from run_events where run = ?", (run,))[0][0]
        )

    def events(self, run: RunId, after: int, limit: int) -> list[RunEvent]:
        """Return at most ``limit`` journal lines with numbers above ``after``, in order."""
        rows = self._space.execute(
            "select seq, at, kind, data from run_events where run = ? and seq > ? order by seq limit ?",
            (run, after, limit),
        )
        return [RunEvent(seq, at, kind, json.loads(data)) for seq, at, kind, data in rows]

    def story(self, run: RunId) -> list[RunEvent]:
        """Return every journal line but the output."""
        rows = self._space.execute(
            "select seq, at, kind, data from run_events where run = ? and kind <> 'output' order by seq",
            (run,),
        )
        return [RunEvent(seq, at, kind, json.loads(data)) for seq, at, kind, data in rows]

    def output(self, run: RunId, attempt: int, limit: int) -> dict[str, str]:
        """Return the last ``limit`` characters that one attempt wrote, by stream."""
        return {stream: self._tail(run, attempt, stream, limit) for stream in ("stdout", "stderr")}

    def artifacts(self, run: RunId) -> tuple[ArtifactEntry, ...]:
        """Return the names and sizes of what the agent left."""
        rows = self._space.execute("select name, size from run_artifacts where run = ? order by name", (run,))
        return tuple(ArtifactEntry(name, size) for name, size in rows)

    def artifact(self, run: RunId, name: str) -> bytes:
        """Return one artifact. Raises ``NotFound``."""
        rows = self._space.execute("select data from run_artifacts where run = ? and name = ?", (run, name))
        if not rows:
            raise NotFound("this run has no such artifact", field="name")
        return bytes(rows[0][0])

    def _tail(self, run: RunId, attempt: int, stream: str, limit: int) -> str:
        """Walk back from the newest piece, page by page, so that no more than needed is read."""
        parts: list[str] = []
        before, missing = 2**62, limit
        while missing > 0:
            rows = self._space.execute(
                "select seq, data ->> 'text' from run_events where run = ? and seq < ? and kind = 'output'"
                " and attempt = ? and data ->> 'stream' = ? order by seq desc limit 64",
                (run, before, attempt, stream),
            )
            if not rows:
                break
            before = rows[-1][0]
            for _seq, text in rows:
                parts.append(text[-missing:] if missing > 0 else "")
                missing -= len(text)
        return "".join(reversed(parts))

    def _step(self, run: RunId, change: Change) -> bool:
        assert change.columns.keys() <= _CHANGEABLE
        sets = "".join(f", {column} = ?" for column in change.columns)
        rows = self._space.execute(
            # Column names come from the set above, values are bound.
            f"update runs set state = ?{sets} where run = ? and state = ? returning run",  # noqa: S608
            (change.after, *change.columns.values(), run, change.before),
        )
        return bool(rows)

    def _append(self, run: RunId, lines: Iterable[Line]) -> None:
        for line in lines:
            self._space.execute(
                "insert into run_events values (?,?,?,?,?,?)",
                (run, line.seq, line.at, line.kind, line.attempt, json.dumps(line.data, ensure_ascii=False)),
            )


def _record(row: tuple[Any, ...]) -> RunRecord:
    return RunRecord(
        run=RunId(row[0]),
        agent=AgentName(row[1]),
        bundle=row[2],
        request=row[3],
        timeout_s=row[4],
        created_at=row[5],
        state=RunState(row[6]),
        attempt=row[7],
        cancel_requested=bool(row[8]),
        cause=row[9],
        reason=row[10],
        hint=row[11],
        backend=row[12],
        exit_code=row[13],
        result=row[14],
        usage=RunUsage(*row[15:19]),
        started_at=row[19],
        finished_at=row[20],
        destroyed=row[21],
        lane=Lane(row[22]),
    )


class Books:
    """Opens tenants' books. One per platform: it remembers which spaces have their tables."""

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces
        self._prepared: WeakSet[SealedFile] = WeakSet()

    def open(self, ctx: VerifiedContext[Storage]) -> RunBook:
        """Return the runs of the context's tenant."""
        space = self._spaces.open(ctx)
        book = RunBook(space)
        if space not in self._prepared:
            book.prepare()
            self._prepared.add(space)
        return book
