"""A level holds one counter per limit; a path is the levels that one scope passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from insula.governance.quota.bucket import Bucket
from insula.governance.quota.budget import Budget, Kind
from insula.governance.quota.limits import Limits
from insula.governance.quota.meter import Meter, Window
from insula.governance.quota.pool import Pool

Measure = Literal[
    "rpm", "tpm", "input_tpm", "output_tpm", "in_flight",
    "tokens_per_day", "tokens_per_month", "usd_per_day", "usd_per_month",
]  # fmt: skip
RATES: Final[tuple[Measure, ...]] = ("rpm", "tpm", "input_tpm", "output_tpm")
"""In the order of the kinds that ``Amounts`` begins with."""

BUDGETS: Final[tuple[tuple[Measure, str, Kind, Window], ...]] = (
    ("tokens_per_day", "tokens_per_day", "quota", "day"),
    ("tokens_per_month", "tokens_per_month", "quota", "month"),
    ("usd_per_day", "nanousd_per_day", "nanousd", "day"),
    ("usd_per_month", "nanousd_per_month", "nanousd", "month"),
)
"""Measure, field of ``Limits``, what is counted, over which window."""


class Level:
    """The limits of one level of a path, and how much of each is taken.

    ``meter`` is there when something reads it: a budget, or a policy (``metered``). ``paths`` are those that
    pass here; the platform's level, which all of them pass, does not list them.
    """

    __slots__ = ("buckets", "budgets", "key", "limits", "meter", "name", "paths")

    def __init__(
        self, name: str, key: str, limits: Limits, now_us: int, hour: int, meter: Meter | None = None
    ) -> None:
        self.name = name
        self.key = key
        self.limits = limits
        self.buckets: dict[Measure, Bucket] = {}
        self.budgets: dict[Measure, Budget] = {}
        self.meter = meter
        self.paths: set[Path] = set()
        self.apply(limits, now_us, hour)

    def apply(self, limits: Limits, now_us: int, hour: int) -> list[tuple[Measure, Bucket | Budget]]:
        """Change the limits; return the counters that did not exist before.

        A limit that stays keeps its counter, with what was used; one that goes loses it.
        """
        self.limits = limits
        added: list[tuple[Measure, Bucket | Budget]] = []
        for measure, shape in _shapes(limits):
            if shape is None:
                self.buckets.pop(measure, None)
            elif measure in self.buckets:
                self.buckets[measure].resize(shape[0], shape[1], now_us, shape[2])
            else:
                self.buckets[measure] = Bucket(shape[0], shape[1], now_us, shape[2])
                added.append((measure, self.buckets[measure]))
        for measure, name, kind, window in BUDGETS:
            limit = getattr(limits, name)
            if limit is not None and kind == "quota":
                limit += limits.overdraft_tokens or 0
            if limit is None:
                self.budgets.pop(measure, None)
            elif measure in self.budgets:
                self.budgets[measure].limit = limit
            else:
                self.budgets[measure] = Budget(limit, self.metered(hour), kind, window)
                added.append((measure, self.budgets[measure]))
        return added

    def metered(self, hour: int) -> Meter:
        """Return the meter, from now on there."""
        if self.meter is None:
            self.meter = Meter(hour)
        return self.meter

    def idle(self, now_us: int) -> bool:
        """Whether forgetting this level, but for its meter, would change no decision."""
        return all(bucket.idle(now_us) for bucket in self.buckets.values()) and not any(
            budget.pending for budget in self.budgets.values()
        )


class Path:
    """The levels of one scope, outermost first, and their counters by measure."""

    __slots__ = (
        "budgeted", "inputs", "key", "levels", "live", "mean_hold_us", "meters", "money", "outputs",
        "periods", "pool", "queue_wait_s", "requests", "slots", "strict", "tokens",
    )  # fmt: skip

    def __init__(self, key: str, levels: tuple[Level, ...], pool: Pool | None = None) -> None:
        self.key = key
        self.levels = levels
        self.live = 0  # reservations that are running, or expired and not yet forgotten
        self.pool = pool
        self.mean_hold_us = 1_000_000
        self.rebuild()

    @property
    def tenant(self) -> str:
        """The tenant whose path this is."""
        return self.levels[1].key

    def rebuild(self) -> None:
        """Collect the counters again after a level's limits changed."""
        self.requests = self._collect("rpm")
        self.tokens = self._collect("tpm")
        self.inputs = self._collect("input_tpm")
        self.outputs = self._collect("output_tpm")
        self.slots = self._collect("in_flight")
        budgets = [budget for level in self.levels for budget in level.budgets.values()]
        self.periods = tuple(budget for budget in budgets if budget.kind == "quota")
        self.money = tuple(budget for budget in budgets if budget.kind == "nanousd")
        self.budgeted = bool(budgets)
        self.strict = any(level.limits.strict for level in self.levels)
        waits = (level.limits.queue_wait_s for level in reversed(self.levels))
        self.queue_wait_s = next((wait for wait in waits if wait is not None), None)
        self.meters = tuple(level.meter for level in self.levels if level.meter is not None)

    def _collect(self, measure: Measure) -> tuple[Bucket, ...]:
        return tuple(level.buckets[measure] for level in self.levels if measure in level.buckets)

    def named(self) -> Iterator[tuple[Level, Measure, Bucket]]:
        """Yield each bucket with the level and the limit it stands for."""
        for level in self.levels:
            for measure, bucket in level.buckets.items():
                yield level, measure, bucket

    def named_budgets(self) -> Iterator[tuple[Level, Measure, Budget]]:
        """Yield each budget with the level and the limit it stands for."""
        for level in self.levels:
            for measure, budget in level.budgets.items():
                yield level, measure, budget

    def observe_hold(self, duration_us: int) -> None:
        """Follow how long this scope's calls take (moving average, weight 1/8)."""
        self.mean_hold_us += (duration_us - self.mean_hold_us) >> 3


def _shapes(limits: Limits) -> Iterator[tuple[Measure, tuple[int, int, int] | None]]:
    """Yield ``(capacity, per minute, debt borne)`` of each measure that a bucket counts."""
    for measure in RATES:
        rate = getattr(limits, measure)
        if rate is None:
            yield measure, None
            continue
        burst = getattr(limits, f"{measure}_burst") or rate
        yield measure, (burst, rate, burst * (limits.debt_percent or 0) // 100)
    in_flight = limits.in_flight
    yield "in_flight", None if in_flight is None else (in_flight, 0, 0)
