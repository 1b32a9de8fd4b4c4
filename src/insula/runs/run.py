"""A run as its owner sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from insula.kernel.clock import rfc3339
from insula.kernel.ids import AgentName, RunId, TenantId
from insula.kernel.money import usd
from insula.runs.states import RunState


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What the model calls of a run used, over all its attempts."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanousd: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the figures, with the cost as nano-dollars and as a decimal string of dollars."""
        return {
            "calls": self.calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_nanousd": self.cost_nanousd,
            "cost_usd": usd(self.cost_nanousd),
        }


@dataclass(frozen=True, slots=True)
class ArtifactEntry:
    """A file that the agent left: its name and size in bytes."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class RunView:
    """Everything a caller may know of one run.

    ``output`` is what the last attempt wrote to standard output, ``errors`` to standard error; both are
    bounded by the tier. ``result`` is the agent's result file: decoded when it is JSON, else text.
    ``reason`` says in words why the run ended as it did, ``cause`` in one machine word, ``hint`` what to do.
    """

    run: RunId
    tenant: TenantId
    agent: AgentName
    state: RunState
    created_at: float
    backend: str | None = None
    exit_code: int | None = None
    output: str = ""
    errors: str = ""
    result: Any = None
    usage: RunUsage = field(default_factory=RunUsage)
    cause: str | None = None
    reason: str | None = None
    hint: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    attempt: int = 0
    artifacts: tuple[ArtifactEntry, ...] = ()
    workspace_destroyed: bool = False
    lane: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the shape of the control plane and the command line."""
        return {
            "run": self.run,
            "tenant": self.tenant,
            "agent": self.agent,
            "state": str(self.state),
            "lane": self.lane,
            "backend": self.backend,
            "exit_code": self.exit_code,
            "output": self.output,
            "errors": self.errors,
            "result": self.result,
            "usage": self.usage.to_json(),
            "cause": self.cause,
            "reason": self.reason,
            "hint": self.hint,
            "attempt": self.attempt,
            "artifacts": [{"name": item.name, "bytes": item.bytes} for item in self.artifacts],
            "workspace_destroyed": self.workspace_destroyed,
            "created_at": rfc3339(self.created_at),
            "started_at": _stamp(self.started_at),
            "finished_at": _stamp(self.finished_at),
        }


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a list: what the index knows, without opening the tenant's space."""

    run: RunId
    tenant: TenantId
    agent: AgentName
    state: RunState
    cause: str | None
    created_at: float
    finished_at: float | None

    def at(self, state: RunState) -> RunSummary:
        """Return the same run in another state."""
        return replace(self, state=state)

    def to_json(self) -> dict[str, Any]:
        """Return the shape of one line of a list."""
        return {
            "run": self.run,
            "tenant": self.tenant,
            "agent": self.agent,
            "state": str(self.state),
            "cause": self.cause,
            "created_at": rfc3339(self.created_at),
            "finished_at": _stamp(self.finished_at),
        }


@dataclass(frozen=True, slots=True)
class RunPage:
    """``next`` is the cursor of the following page, ``None`` at the end. Newest first."""

    items: tuple[RunSummary, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One line of a run's journal. ``seq`` counts from 1 without a hole; ``kind``: state, output, journal."""

    seq: int
    at: float
    kind: str
    data: dict[str, Any]

    @property
    def final(self) -> bool:
        """True for the event that ends the run; nothing follows it."""
        return self.kind == "state" and RunState(self.data["state"]).terminal

    def to_json(self) -> dict[str, Any]:
        """Return the shape of the event stream."""
        return {"seq": self.seq, "at": rfc3339(self.at), "kind": self.kind, **self.data}


def shown_result(data: bytes | None) -> Any:
    """Return a result file as JSON when it is JSON, else as text; ``None`` when there is none."""
    if data is None:
        return None
    text = data.decode("utf-8", errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _stamp(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
