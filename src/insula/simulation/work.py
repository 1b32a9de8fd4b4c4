"""What is asked of the platform: runs of agents, and the calls and pauses they are made of.

A plain request of a trace is a run of one step. Times are integer microseconds of simulated time, lengths
are tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """One model call, and what the agent does before it.

    ``needs`` are the numbers of the steps that must have ended first. ``human_us`` is spent waiting for a
    person, then ``tool_us`` in a tool, then the call is made. ``cached`` of the ``prompt`` tokens are read
    from the provider's cache. ``agent`` tells sub-agents of one run apart; 0 is the agent itself.
    """

    prompt: int
    output: int
    cached: int = 0
    needs: tuple[int, ...] = ()
    tool_us: int = 0
    human_us: int = 0
    agent: int = 0

    @property
    def tokens(self) -> int:
        """All tokens of the call, input and output."""
        return self.prompt + self.output


@dataclass(frozen=True, slots=True)
class Run:
    """One task of one tenant's agent. ``sandboxed`` runs hold a sandbox slot while they are not waiting."""

    id: str
    tenant: str
    agent: str
    at_us: int
    steps: tuple[Step, ...]
    batch: bool = False
    sandboxed: bool = False


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose runs they are: a share, and limits a minute (``None`` is unlimited)."""

    weight: int = 1
    tpm: int | None = None
    tpm_burst: int | None = None
    rpm: int | None = None
    period_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """Runs by time of arrival, and the tenants they belong to."""

    name: str
    source: str
    runs: tuple[Run, ...]
    tenants: Mapping[str, Tenant] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """How many model calls the runs make."""
        return sum(len(run.steps) for run in self.runs)

    @property
    def horizon_us(self) -> int:
        """When the last run arrives."""
        return max((run.at_us for run in self.runs), default=0)

    def small(self) -> frozenset[str]:
        """Return the small tenants: the third that makes the fewest calls (ties by name, at least one)."""
        calls = Counter(dict.fromkeys(self.tenants, 0))
        for run in self.runs:
            calls[run.tenant] += len(run.steps)
        asking = sorted((count, name) for name, count in calls.items() if count)
        return frozenset(name for _, name in asking[: max(1, len(asking) // 3)])
