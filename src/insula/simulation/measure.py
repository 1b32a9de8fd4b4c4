"""What a simulation measures: waiting, use of the slots, service per tenant over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from insula.simulation.work import SECOND_US

_POINTS = 240


class Measures:
    """Filled while the simulation runs. Service is counted in slot-microseconds, when it is given."""

    def __init__(self, horizon_us: int) -> None:
        self.every_us = max(SECOND_US, horizon_us // _POINTS)
        self.waits: dict[str, list[int]] = {}
        self.served: Counter[str] = Counter()
        self.series: dict[str, list[int]] = {}
        self.calls = self.refused = self.failed_runs = self.refused_runs = self.retries = 0
        self.crashed_calls = self.held_back = self.clamped = self.runs = 0
        self.busy_us = 0
        self.end_us = 0

    def waited(self, tenant: str, wait_us: int) -> None:
        """Note how long a run that succeeded stood in queues, all its turns together."""
        self.waits.setdefault(tenant, []).append(wait_us)

    def ran(self, tenant: str, from_us: int, until_us: int) -> None:
        """Note that a slot worked for a tenant; the service is spread over the points it falls on."""
        self.busy_us += until_us - from_us
        self.served[tenant] += until_us - from_us
        self.end_us = max(self.end_us, until_us)
        series = self.series.setdefault(tenant, [])
        last = until_us // self.every_us
        series.extend([0] * (last + 1 - len(series)))
        at = from_us
        while at < until_us:
            point = at // self.every_us
            step = min(until_us, (point + 1) * self.every_us) - at
            series[point] += step
            at += step

    def served_by(self, tenant: str, until_us: int) -> int:
        """Return the slot-microseconds a tenant got up to a time (to the width of a point)."""
        return sum(self.series.get(tenant, ())[: until_us // self.every_us])


def percentile(values: Sequence[int], percent: int) -> int:
    """Return the nearest-rank percentile, 0 of nothing."""
    ranked = sorted(values)
    return ranked[max(0, -(-percent * len(ranked) // 100) - 1)] if ranked else 0


def jain(shares: Sequence[float]) -> float:
    """Return Jain's index of fairness: 1 when all are equal, 1/n when one has all (Jain et al. 1984)."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def entitled(demands: Mapping[str, int], weights: Mapping[str, int], supply: int) -> dict[str, float]:
    """Return the weighted max-min fair split of ``supply``: nobody gets more than was asked for."""
    shares: dict[str, float] = {}
    left, weight = float(supply), float(sum(weights[name] for name in demands))
    for name in sorted(demands, key=lambda name: (demands[name] / weights[name], name)):
        fair = left * weights[name] / weight if weight else 0.0
        shares[name] = min(float(demands[name]), fair)
        left -= shares[name]
        weight -= weights[name]
    return shares
