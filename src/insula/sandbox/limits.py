"""Hard numbers of one sandbox, as the spawner needs them: bytes, counts, seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """``memory`` is for processes; the workspace lives in memory too and comes on top (``workspace``)."""

    memory: int
    pids: int
    cpus: float
    workspace: int
    inodes: int
    wall_s: float

    @property
    def resident(self) -> int:
        """Bytes that the kernel may charge to the sandbox: its processes and its workspace."""
        return self.memory + self.workspace

    @property
    def sockets(self) -> int:
        """Bytes in the buffers of internet sockets, where the kernel counts them apart (cgroup version 1).

        Uncounted, 3,000 connections of a workload to itself hold 2 GiB of the host and the memory that TCP
        has for all.
        """
        return max(8 * MIB, self.memory // 8)

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, numbers: dict[str, Any]) -> Limits:
        return cls(**numbers)
