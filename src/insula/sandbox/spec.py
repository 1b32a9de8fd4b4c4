"""What a sandbox is asked for, what comes out of it, and what is left in writing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from insula.kernel.ids import RunId, TenantId
from insula.sandbox.payload import FileLike
from insula.tenancy import SandboxBounds


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """``command`` is what becomes pid 1. ``agent`` is a directory of the host, shown at /run/insula/agent.

    ``files`` appear read-only below /agent; ``stdin`` is what pid 1 reads.
    """

    tenant: TenantId
    run: RunId
    rootfs: Path
    command: tuple[str, ...]
    bounds: SandboxBounds
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[FileLike] = field(default=(), repr=False)
    stdin: bytes = field(default=b"", repr=False)
    agent: Path | None = None


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """A piece of output; ``stream`` is ``stdout`` or ``stderr``."""

    stream: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """How the workload ended. ``memory_peak`` in bytes; ``problem`` is what its start complained of."""

    code: int | None
    signal: int | None
    reason: str
    cpu_s: float
    memory_peak: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was made sure of after the end. ``clean`` only when all of it holds."""

    processes_gone: bool
    group_removed: bool
    workspace_freed: bool
    uid_released: bool

    @property
    def clean(self) -> bool:
        return self.processes_gone and self.group_removed and self.workspace_freed and self.uid_released
