"""The bounds of one run: the tier's, narrowed by the agent and the caller. Nothing here can widen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from insula.kernel.errors import InvalidRequest, TooLarge
from insula.tenancy.bounds import SandboxBounds

INPUT_BYTES_MAX = 4 * 1024 * 1024
"""Largest input of a run."""

KEY_CHARS_MAX = 200
"""Longest idempotency key."""

_NAMES = {"memory_mib": "memory_mib", "pids": "pids", "cpu": "cpu_fraction", "workspace_mib": "workspace_mib"}


@dataclass(frozen=True, slots=True)
class Timeout:
    """A run's time limit in seconds and who set it: "request", "agent.toml" or "tier"."""

    seconds: float
    by: str


def narrowed(tier: SandboxBounds, limits: Mapping[str, Any], timeout: Timeout) -> SandboxBounds:
    """Return ``tier`` with each of the agent's ``limits`` that is lower, and the time limit as wall time.

    ``limits`` are those of agent.toml. The sandbox keeps whole seconds, so its wall time is rounded up and
    only stands behind the platform's own timer.
    """
    lower: dict[str, Any] = {
        ours: min(getattr(tier, ours), limits[theirs])
        for theirs, ours in _NAMES.items()
        if limits.get(theirs) is not None
    }
    return replace(tier, **lower, wall_s=min(tier.wall_s, ceil(timeout.seconds) + 1))


def effective_timeout(tier: SandboxBounds, limits: Mapping[str, Any], asked_s: float | None) -> Timeout:
    """Return the least of what the caller asked, the agent's manifest and the tier allow."""
    offers = [(asked_s, "request"), (limits.get("timeout_s"), "agent.toml"), (tier.wall_s, "tier")]
    return min((Timeout(float(s), by) for s, by in offers if s is not None), key=lambda offer: offer.seconds)


def checked_timeout(timeout_s: float | None) -> float | None:
    """Return a caller's timeout if it is usable. Raises ``InvalidRequest``."""
    if timeout_s is None:
        return None
    # NaN fails both comparisons and is refused with the rest.
    if isinstance(timeout_s, bool) or not 0 < timeout_s <= 30 * 86_400:
        raise InvalidRequest(
            f"timeout_s cannot be {timeout_s}", hint="use seconds, more than 0", field="timeout_s"
        )
    return float(timeout_s)


def checked_input(data: bytes) -> bytes:
    """Return a run's input if it is not too large. Raises ``TooLarge``."""
    if len(data) > INPUT_BYTES_MAX:
        raise TooLarge(
            f"the input has {len(data)} bytes, more than {INPUT_BYTES_MAX}",
            hint="pass a reference to large data instead",
            field="input",
        )
    return data


def checked_key(key: str | None) -> str | None:
    """Return an idempotency key if it is usable. Raises ``InvalidRequest``."""
    if key is None:
        return None
    if not 1 <= len(key) <= KEY_CHARS_MAX or not key.isprintable():
        raise InvalidRequest(
            "the idempotency key is not usable",
            hint=f"use 1 to {KEY_CHARS_MAX} printable characters",
            field="idempotency_key",
        )
    return key
