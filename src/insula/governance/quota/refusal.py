"""Why a reservation was refused: the level, the limit, and how long waiting really takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from insula.governance.quota.bucket import UNIT, Bucket
from insula.governance.quota.level import Level, Measure, Path
from insula.kernel.errors import ExceedsLimit, RateLimited

Kind = Literal["rate_limited", "full_of_reservations", "exceeds"]

_SEVERITY: dict[Kind, int] = {"rate_limited": 0, "full_of_reservations": 1, "exceeds": 2}
_NOUN: dict[Measure, str] = {
    "rpm": "requests per minute",
    "tpm": "tokens per minute",
    "in_flight": "calls in flight",
}
_SOONEST_US, _LATEST_US = 50_000, 30_000_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """The bucket that stands longest in the way.

    ``wait_us`` is exact for ``rate_limited`` (refill), an expectation for ``full_of_reservations`` (half
    of the time that calls of this scope take), ``None`` for ``exceeds`` (waiting cannot help).
    """

    level: str
    limit: Measure
    kind: Kind
    wait_us: int | None
    asked: int
    allowed: int

    def error(self) -> RateLimited | ExceedsLimit:
        """Return the error that the caller sees."""
        facts: dict[str, Any] = {"level": self.level, "limit": self.limit, "kind": self.kind}
        whose = f"the {self.level}'s limit of {self.allowed} {_NOUN[self.limit]}"
        if self.wait_us is None:
            return ExceedsLimit(
                f"this call needs {self.asked}, more than {whose} allows at once",
                hint="lower max_tokens, shorten the input, or ask for a higher limit",
                **facts,
            )
        reached = "is taken by calls in progress" if self.kind == "full_of_reservations" else "is reached"
        seconds = self.wait_us / 1_000_000
        return RateLimited(
            f"{whose} {reached}", hint=f"retry in {seconds:.3f} s", retry_after_s=seconds, **facts
        )


def explain(path: Path, requests: int, tokens: int, now_us: int) -> Refusal:
    """Return the refusal of a call that at least one bucket of ``path`` does not admit. Writes nothing."""
    asked: dict[Measure, int] = {"rpm": requests, "tpm": tokens, "in_flight": 1}
    refusals = [
        _judge(path, level, measure, bucket, asked[measure], now_us)
        for level, measure, bucket in path.named()
        if bucket.free(now_us) < asked[measure] * UNIT
    ]
    return max(refusals, key=lambda refusal: (_SEVERITY[refusal.kind], refusal.wait_us or 0))


def _judge(path: Path, level: Level, measure: Measure, bucket: Bucket, asked: int, now_us: int) -> Refusal:
    ticks = asked * UNIT
    if ticks > bucket.capacity:
        return Refusal(level.name, measure, "exceeds", None, asked, bucket.capacity // UNIT)
    allowed = getattr(level.limits, measure)
    wait = bucket.wait_us(ticks, now_us)
    if wait is not None:
        return Refusal(level.name, measure, "rate_limited", wait, asked, allowed)
    expected = min(max(path.mean_hold_us // 2, _SOONEST_US), _LATEST_US)
    return Refusal(level.name, measure, "full_of_reservations", expected, asked, allowed)
