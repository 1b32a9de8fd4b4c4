"""The durable record of a run, as it lies in its tenant's sealed space."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from insula.governance.fairness import Lane
from insula.kernel.ids import AgentName, RunId
from insula.runs.run import RunUsage
from insula.runs.states import RunState


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. ``bundle`` is the digest of the files it was submitted for, whatever is deployed later.

    ``attempt`` counts starts; ``destroyed`` counts receipts for a destroyed workspace.
    """

    run: RunId
    agent: AgentName
    bundle: str
    request: str
    timeout_s: float | None
    created_at: float
    state: RunState = RunState.QUEUED
    attempt: int = 0
    cancel_requested: bool = False
    cause: str | None = None
    reason: str | None = None
    hint: str | None = None
    backend: str | None = None
    exit_code: int | None = None
    result: bytes | None = field(default=None, repr=False)
    usage: RunUsage = field(default_factory=RunUsage)
    started_at: float | None = None
    finished_at: float | None = None
    destroyed: int = 0
    lane: Lane = Lane.INTERACTIVE


@dataclass(frozen=True, slots=True)
class Line:
    """A journal line on its way to the disk; see ``RunEvent``. ``attempt`` is 0 before the first start."""

    seq: int
    at: float
    kind: str
    attempt: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """A step from one state to the next, and the columns of the record that change with it."""

    before: RunState
    after: RunState
    columns: dict[str, Any] = field(default_factory=dict)
    artifacts: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
