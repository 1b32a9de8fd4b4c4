"""Numbers that come with a tier: what one sandbox may use, and the rates a tenant starts with."""

from __future__ import annotations

from dataclasses import dataclass


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
    guess.
    """

    rpm: int | None
    rpm_burst: int
    tpm: int | None
    tpm_burst: int
    in_flight: int | None
    strict_estimates: bool
