"""What to do with a run that is met at the start of its workflow, for the first time or again. Pure."""

from __future__ import annotations

from insula.runs.record import RunRecord
from insula.runs.states import RunState
from insula.runs.verdict import Verdict, cancelled, interrupted

ATTEMPTS_MAX = 3
"""How often a run is started before the platform gives up on it."""


def resume(record: RunRecord, recovery: str) -> Verdict | None:
    """Return how the run ends without another start, or ``None`` when it is to be carried (on).

    ``recovery`` is the agent's wish, "restart" or "fail": what happens to a run that a crash cut short. A run
    that held a slot may have begun to act, so with "fail" it is not started again.
    """
    assert not record.state.terminal
    if record.cancel_requested:
        return cancelled()
    if record.state is RunState.QUEUED:
        return None
    if recovery == "fail":
        return interrupted()
    if record.attempt >= ATTEMPTS_MAX:
        return interrupted(record.attempt)
    return None
