"""A task's part of the tenant's tokens, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DAY_US = 86_400_000_000


class State(StrEnum):
    """What the task is doing. Whoever waits lends what it does not need meanwhile."""

    RUNNING = "running"
    WAITING_HUMAN = "waiting_human"
    WAITING_TIMER = "waiting_timer"
    SUSPENDED = "suspended"


@dataclass(slots=True)
class Reservation:
    """Tokens set aside for one task.

    ``granted`` is its size now, ``used`` what it and its closed children used of it, ``held`` what its
    running calls hold of it, ``carved`` the size of its open children, ``donated`` what it gave away and
    may claim back. ``beyond`` counts what its calls used outside of it. ``floor`` is never donated.
    ``first`` is the answer to ``open``; ``calls`` are running; ``seen_us`` is the last sign of life.
    """

    rid: str
    agent: str
    parent: str | None
    first: int
    granted: int
    floor: int
    seen_us: int
    ttl_us: int
    used: int = 0
    held: int = 0
    carved: int = 0
    donated: int = 0
    beyond: int = 0
    calls: int = 0
    state: State = State.RUNNING

    @property
    def unused(self) -> int:
        """What the task may still take without asking anybody."""
        return self.granted - self.used - self.held - self.carved

    @property
    def spare(self) -> int:
        """What it would donate: all that is unused, above the floor."""
        return max(0, self.unused - self.floor)

    def idle(self, now_us: int, after_us: int) -> bool:
        """Whether it says that it waits, or gave no sign of life for ``after_us`` with no call running."""
        if self.state is not State.RUNNING:
            return True
        return self.calls == 0 and now_us - self.seen_us > after_us

    def dead(self, now_us: int) -> bool:
        """Whether its time to live is over. Running calls keep it alive."""
        return self.calls == 0 and now_us - self.seen_us >= self.ttl_us


@dataclass(slots=True)
class Hold:
    """What a running call holds: ``own`` out of its reservation, ``pool`` out of what was free.

    ``first`` is the answer to ``hold``. ``sure`` is charged if nobody ever settles.
    """

    call: str
    rid: str | None
    first: int
    own: int
    pool: int
    sure: int
    expires_us: int

    @property
    def size(self) -> int:
        return self.own + self.pool
