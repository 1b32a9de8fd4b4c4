"""What one start of a run needs, resolved from the registry, the bundle and the tier."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from insula.governance.fairness import Lane
from insula.kernel.ids import AgentName, AppName, RunId, TenantId
from insula.runs.bounds import Timeout
from insula.tenancy import IsolationProfile, SandboxBounds


@dataclass(frozen=True, slots=True)
class Blueprint:
    """``files`` are the bundle's; ``command`` is the agent's entrypoint; ``tokens`` it asks to set aside."""

    tenant: TenantId
    run: RunId
    agent: AgentName
    app: AppName | None
    models: tuple[str, ...]
    recovery: str
    profile: IsolationProfile
    bounds: SandboxBounds
    timeout: Timeout
    rootfs: Path
    command: tuple[str, ...]
    environment: dict[str, str]
    files: tuple[Any, ...] = field(repr=False)
    data: bytes = field(repr=False)
    tokens: int | None = None
    lane: Lane = Lane.INTERACTIVE
