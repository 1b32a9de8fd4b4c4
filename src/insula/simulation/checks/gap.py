"""The gap between tenants: how far two that both wait can drift apart in normalised service.

For tenants f and g that both have something queued throughout a window, the difference of what they were
charged in it, each divided by its weight, must stay within ``2 (U + E)``: U is the largest estimate over
weight, E the largest error of an estimate over weight times the calls in flight (section 1.3 of the
specification, after Goyal et al. 1996 and Sheng et al. 2024). Passing over heads that do not fit widens it
to ``2 (1 + sigma) (U + E)``.

Every pair and every window is looked at: a pair's gap is its difference now minus the least it was since both
were waiting.

The shortfall is the other side of it: while a tenant waits, it is served at least its weight's part of all
service, less the same bound. That is the sharing incentive of dominant resource fairness.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping


class Gap:
    """Follows all pairs of waiting tenants. Exact: shares are scaled by a common multiple of the weights."""

    def __init__(self, weights: Mapping[str, int], sigma: int, now_us: Callable[[], int]) -> None:
        common = math.lcm(*weights.values()) if weights else 1
        self._scale = {name: common // weight for name, weight in weights.items()}
        self._common = common
        self._sigma = sigma
        self._now_us = now_us
        self._served = dict.fromkeys(weights, 0)
        self._queued = dict.fromkeys(weights, 0)
        self._blocked: set[str] = set()
        self._least: dict[str, dict[str, int]] = {}
        self._flying = dict.fromkeys(weights, 0)
        self._most_flying = dict.fromkeys(weights, 0)
        self._error = dict.fromkeys(weights, 0)
        self._largest = 0
        self._weight = sum(weights.values())
        self._total = 0
        self._since: dict[str, tuple[int, int]] = {}
        self.worst = 0
        self.shortfall = 0
        self.passed_over = False
        self.series: list[tuple[int, int]] = []

    def queued(self, tenant: str, by: int) -> None:
        """Note that ``by`` more items of a tenant wait (or fewer)."""
        self._queued[tenant] += by
        self._watch(tenant)

    def blocked(self, tenant: str, is_blocked: bool) -> None:
        """Note that a tenant's own limit keeps it out, or no longer."""
        (self._blocked.add if is_blocked else self._blocked.discard)(tenant)
        self._watch(tenant)

    def waiting(self) -> bool:
        """Whether some tenant waits that no limit keeps out."""
        return bool(self._least)

    def dispatched(self, tenant: str, cost: int) -> None:
        """Note a dispatch, charged at its estimate."""
        self._largest = max(self._largest, cost * self._scale[tenant])
        self._flying[tenant] += 1
        self._most_flying[tenant] = max(self._most_flying[tenant], self._flying[tenant])
        self._measure_shortfall(tenant)
        self._charge(tenant, cost)

    def corrected(self, tenant: str, by: int) -> None:
        """Note a correction of what was charged, either sign."""
        if by:
            self._charge(tenant, by)

    def ended(self, tenant: str, estimate: int, actual: int) -> None:
        """Note the end of a call whose cost was estimated."""
        self._flying[tenant] -= 1
        self._error[tenant] = max(self._error[tenant], abs(actual - estimate))

    def bound(self) -> int:
        """Return ``2 (1 + sigma) (U + E)``, or ``2 (U + E)`` if nothing was passed over, in scaled units."""
        error = max(
            (self._most_flying[name] * self._error[name] * self._scale[name] for name in self._scale),
            default=0,
        )
        return 2 * (1 + self._sigma * self.passed_over) * (self._largest + error)

    def in_units(self, scaled: int) -> int:
        """Return a scaled figure in units of cost, rounded down."""
        return scaled // self._common

    def _watch(self, tenant: str) -> None:
        waits = self._queued[tenant] > 0 and tenant not in self._blocked
        if waits == (tenant in self._least):
            return
        if not waits:
            self._measure_shortfall(tenant)
            del self._least[tenant], self._since[tenant]
            for least in self._least.values():
                del least[tenant]
            return
        served = self._served
        self._since[tenant] = served[tenant], self._total
        for other, least in self._least.items():
            least[tenant] = served[other] - served[tenant]
        self._least[tenant] = {other: served[tenant] - served[other] for other in self._least}

    def _measure_shortfall(self, tenant: str) -> None:
        """Compare what a waiting tenant got with its part of all, in scaled units, rounded up."""
        since = self._since.get(tenant)
        if since is not None:
            part = -(-(self._total - since[1]) * self._common // self._weight)
            self.shortfall = max(self.shortfall, part - (self._served[tenant] - since[0]))

    def _charge(self, tenant: str, cost: int) -> None:
        self._total += cost
        mine = self._served[tenant] = self._served[tenant] + cost * self._scale[tenant]
        behind = self._least.get(tenant)
        if behind is None:
            return
        served, worst = self._served, self.worst
        for other, least in behind.items():
            ahead = mine - served[other]
            if ahead < least:
                behind[other] = ahead
            elif ahead - least > worst:
                worst = ahead - least
            theirs = self._least[other]
            if -ahead < theirs[tenant]:
                theirs[tenant] = -ahead
            elif -ahead - theirs[tenant] > worst:
                worst = -ahead - theirs[tenant]
        if worst > self.worst:
            self.worst = worst
            self.series.append((self._now_us(), worst))
