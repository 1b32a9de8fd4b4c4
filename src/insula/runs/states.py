"""The states of a run and which may follow which. Pure.

::

    queued ──▶ admitted ──▶ running ──▶ succeeded | failed | timed_out | cancelled
      ▲  │         │           │
      │  └─────────┴──▶ refused, cancelled, failed
      └────────────┴───────────┘  the platform died under the run and takes it up again

A terminal state has no successor, so a run ends exactly once.
"""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    ADMITTED = "admitted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"

    @property
    def terminal(self) -> bool:
        """True when nothing can follow."""
        return not _NEXT[self]


_Q, _A, _R = RunState.QUEUED, RunState.ADMITTED, RunState.RUNNING
_ENDED_BEFORE_START = frozenset({RunState.REFUSED, RunState.CANCELLED, RunState.FAILED})
_ENDED_AFTER_START = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.TIMED_OUT})

_NEXT: dict[RunState, frozenset[RunState]] = {
    _Q: _ENDED_BEFORE_START | {_A},
    _A: _ENDED_BEFORE_START | {_R, _Q},
    _R: _ENDED_AFTER_START | {_Q},
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
    RunState.TIMED_OUT: frozenset(),
    RunState.REFUSED: frozenset(),
}

TERMINAL: frozenset[RunState] = frozenset(state for state, after in _NEXT.items() if not after)
OPEN: frozenset[RunState] = frozenset(RunState) - TERMINAL


def may_follow(before: RunState, after: RunState) -> bool:
    """Say whether ``after`` is a legal next state of ``before``."""
    return after in _NEXT[before]


def advance(before: RunState, after: RunState) -> RunState:
    """Return ``after``; an illegal step is a defect of ours and fails the assertion."""
    assert may_follow(before, after), f"a run cannot go from {before} to {after}"
    return after
