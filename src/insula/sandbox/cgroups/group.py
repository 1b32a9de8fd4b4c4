"""The contract of one sandbox's control group, and what it measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from insula.sandbox.limits import Limits


@dataclass(frozen=True, slots=True)
class Used:
    """``cpu_s`` seconds, ``memory_peak`` bytes (0: the kernel does not say), ``oom_kills`` processes."""

    cpu_s: float
    memory_peak: int
    oom_kills: int


class Group(Protocol):
    """Processes that are limited, counted and killed together."""

    def limit(self, limits: Limits, spare_pids: int) -> None:
        """Set the ceilings; ``spare_pids`` are for processes of the backend's own."""
        ...

    def join(self) -> None:
        """Put the calling process in."""
        ...

    def pids(self) -> list[int]:
        """Processes inside now."""
        ...

    def kill(self) -> None:
        """Forbid new processes and send SIGKILL to all. Repeat until ``pids`` is empty."""
        ...

    def used(self) -> Used: ...

    def remove(self) -> bool:
        """Take the group away; false while the kernel still holds it."""
        ...


class Groups(Protocol):
    """All groups of one platform on this host."""

    def make(self, name: str) -> Group: ...

    def places(self) -> list[Path]:
        """The directories that hold the groups: what a later sweep looks at."""
        ...

    def close(self) -> None:
        """Remove the directories. Every group must be gone."""
        ...
