"""Why a reservation was refused: the level, the limit, and how long waiting really takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from insula.governance.quota.bucket import UNIT, Bucket
from insula.governance.quota.budget import Budget
from insula.governance.quota.level import Level, Measure, Path
from insula.governance.quota.meter import ends_at
from insula.governance.quota.need import Need
from insula.kernel.clock import rfc3339
from insula.kernel.errors import BudgetExhausted, ExceedsLimit, LimitError, RateLimited
from insula.kernel.money import usd

Kind = Literal["rate_limited", "full_of_reservations", "exhausted", "exceeds"]

_SEVERITY: dict[Kind, int] = {"rate_limited": 0, "full_of_reservations": 1, "exhausted": 2, "exceeds": 3}
_NOUN: dict[Measure, str] = {
    "rpm": "requests per minute",
    "tpm": "tokens per minute",
    "input_tpm": "input tokens per minute",
    "output_tpm": "output tokens per minute",
    "in_flight": "calls in flight",
    "tokens_per_day": "tokens a day",
    "tokens_per_month": "tokens a month",
    "usd_per_day": "dollars a day",
    "usd_per_month": "dollars a month",
}
_SOONEST_US, _LATEST_US = 50_000, 30_000_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """The limit that stands longest in the way.

    ``wait_us`` is exact for ``rate_limited`` (refill), an expectation for ``full_of_reservations`` (half
    of the time that calls of this scope take), ``None`` where waiting does not help (``exceeds``) or not
    before ``resets_at`` (``exhausted``; seconds since the epoch). Figures of money are nano-dollars.
    """

    level: str
    limit: Measure
    kind: Kind
    wait_us: int | None
    asked: int
    allowed: int
    used: int | None = None
    resets_at: int | None = None

    def error(self) -> LimitError:
        """Return the error that the caller sees."""
        facts: dict[str, Any] = {"level": self.level, "limit": self.limit, "kind": self.kind}
        if self.used is not None:
            facts["used"] = self._figure(self.used)
        whose = f"the {self.level}'s limit of {self._figure(self.allowed)} {_NOUN[self.limit]}"
        if self.kind == "exhausted":
            assert self.resets_at is not None
            ends = rfc3339(self.resets_at)
            return BudgetExhausted(
                f"{whose} {self._rest()}", hint=f"it begins anew at {ends}, or ask for more",
                reset_at=ends, **facts,
            )  # fmt: skip
        if self.wait_us is None:
            return ExceedsLimit(
                f"this call needs {self._figure(self.asked)}, more than {whose} allows at once",
                hint="lower max_tokens, shorten the input, or ask for a higher limit",
                **facts,
            )
        reached = "is taken by calls in progress" if self.kind == "full_of_reservations" else "is reached"
        seconds = self.wait_us / 1_000_000
        return RateLimited(
            f"{whose} {reached}", hint=f"retry in {seconds:.3f} s", retry_after_s=seconds, **facts
        )

    def _rest(self) -> str:
        """Say what a budget has left that does not bear this call."""
        left = self.allowed - (self.used or 0)
        if left <= 0:
            return "is used up"
        return f"has {self._figure(left)} left, and this call may need {self._figure(self.asked)}"

    def _figure(self, amount: int) -> str:
        return usd(amount) if self.limit.startswith("usd") else str(amount)


def explain(path: Path, need: Need, now_us: int, hour: int) -> Refusal:
    """Return the refusal of a call that at least one counter of ``path`` does not admit. Writes nothing."""
    refusals = [
        _judge(path, level, measure, bucket, _asked(need, measure), now_us)
        for level, measure, bucket in path.named()
        if bucket.free(now_us) < _asked(need, measure) * UNIT
    ]
    for level, measure, budget in path.named_budgets():
        least = need.least.quota if budget.kind == "quota" else need.least.nanousd
        if budget.free < least:
            refusals.append(_judge_budget(path, level, measure, budget, least, hour))
    if not refusals:
        refusals.append(_reserved(path, need))
    return max(refusals, key=lambda refusal: (_SEVERITY[refusal.kind], refusal.wait_us or 0))


_RATE_KINDS: dict[Measure, int] = {"rpm": 0, "tpm": 1, "input_tpm": 2, "output_tpm": 3}
"""Where the amount that a rate counts stands in ``Amounts``."""


def _asked(need: Need, measure: Measure) -> int:
    return 1 if measure == "in_flight" else need.estimate[_RATE_KINDS[measure]]


def _judge(path: Path, level: Level, measure: Measure, bucket: Bucket, asked: int, now_us: int) -> Refusal:
    ticks = asked * UNIT
    if ticks > bucket.capacity:
        return Refusal(level.name, measure, "exceeds", None, asked, bucket.capacity // UNIT)
    allowed = getattr(level.limits, measure)
    wait = bucket.wait_us(ticks, now_us)
    if wait is not None:
        return Refusal(level.name, measure, "rate_limited", wait, asked, allowed)
    return Refusal(level.name, measure, "full_of_reservations", _expected(path), asked, allowed)


def _judge_budget(
    path: Path, level: Level, measure: Measure, budget: Budget, least: int, hour: int
) -> Refusal:
    used = budget.used
    if least > budget.limit:
        return Refusal(level.name, measure, "exceeds", None, least, budget.limit, used)
    if budget.left < least:
        ends = ends_at(budget.window, hour)
        return Refusal(level.name, measure, "exhausted", None, least, budget.limit, used, ends)
    return Refusal(level.name, measure, "full_of_reservations", _expected(path), least, budget.limit, used)


def _reserved(path: Path, need: Need) -> Refusal:
    """Every budget has room, so other runs' reservations in the tenant's ledger stand in the way."""
    level, measure, budget = next(
        found for found in path.named_budgets() if found[0].name == "tenant" and found[2].kind == "quota"
    )
    wait = _expected(path)
    return Refusal(
        level.name, measure, "full_of_reservations", wait, need.least.quota, budget.limit, budget.used
    )


def _expected(path: Path) -> int:
    return min(max(path.mean_hold_us // 2, _SOONEST_US), _LATEST_US)
