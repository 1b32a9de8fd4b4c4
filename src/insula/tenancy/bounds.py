"""Numbers that come with a tier: what one sandbox may use, and the rates a tenant starts with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class SandboxBounds:
    """Ceilings of one sandbox. Sizes in MiB or bytes, time in seconds, ``cpu_fraction`` in whole CPUs."""

    memory_mib: int
    pids: int
    cpu_fraction: float
    workspace_mib: int
    workspace_inodes: int
    output_bytes: int
    wall_s: int


@dataclass(frozen=True, slots=True)
class LimitPreset:
    """Rates a tenant starts with. ``None`` is unlimited.

    ``rpm`` and ``tpm`` are per minute; ``rpm_burst`` and ``tpm_burst`` are what may be used at once on top
    of the even flow (0: none). ``strict_estimates`` reserves the whole ``max_tokens`` instead of a learned
    guess; ``debt_percent`` of the burst is borne as debt before that happens by itself. ``queue_wait_s`` is
    how long a call may wait at most for a quota; ``weight`` is the tenant's share where tenants queue.
    The row holds from the day ``effective_from`` on.
    """

    rpm: int | None
    rpm_burst: int
    tpm: int | None
    tpm_burst: int
    in_flight: int | None
    strict_estimates: bool
    debt_percent: int = 0
    queue_wait_s: int = 0
    weight: int = 1
    effective_from: date = date(2026, 11, 23)
