"""What whoever watches is told of a run that ended."""

from __future__ import annotations

from dataclasses import dataclass

from insula.kernel.ids import AgentName, RunId, TenantId


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run from its acceptance to its end, in seconds since the epoch; the wait for a slot is in it.

    ``failure`` is the cause in one machine word, ``None`` if it succeeded. ``calls`` are its model calls.
    """

    run: RunId
    tenant: TenantId
    agent: AgentName
    began_at: float
    ended_at: float
    failure: str | None
    calls: int


def unwatched(_ended: Invocation) -> None:
    """Nobody watches."""
