"""The gap, measured from outside: a second set of books that no decision uses.

For two tenants that both wait throughout a stretch of time, the gap is the difference of what they were
charged in it, each divided by its weight. The largest gap over *all* such stretches is found exactly, by
the range of the difference since both began to wait.
"""

from __future__ import annotations

from fractions import Fraction

from insula.governance.fairness.weight import UNITS, Weight


class GapWatch:
    """Told what happens, knows the largest gap and its bound. A charge costs O(tenants that wait)."""

    def __init__(self) -> None:
        self._charged: dict[str, int] = {}
        self._waiting: set[str] = set()
        self._ranges: dict[tuple[str, str], tuple[int, int]] = {}
        self._in_flight: dict[str, int] = {}
        self._most: dict[str, int] = {}
        self._over: dict[str, int] = {}
        self._under: dict[str, int] = {}
        self.gap = 0
        self.largest = 0

    def waits(self, tenant: str, waiting: bool) -> None:
        """Note whether a tenant has something queued that may be served."""
        if not waiting:
            self._waiting.discard(tenant)
        elif tenant not in self._waiting:
            for other in self._waiting:
                difference = self._difference(tenant, other)
                self._ranges[_pair(tenant, other)] = (difference, difference)
            self._waiting.add(tenant)

    def dispatched(self, tenant: str, estimate: int, weight: Weight) -> None:
        """Note a dispatch; the tenant is in ``waits`` until told otherwise. 0 for an item paid before."""
        count = self._in_flight[tenant] = self._in_flight.get(tenant, 0) + 1
        self._most[tenant] = max(count, self._most.get(tenant, 0))
        self.largest = max(self.largest, estimate * weight.rate)
        self._charge(tenant, estimate * weight.rate)

    def landed(self, tenant: str) -> None:
        """Note that an item is in flight no more."""
        self._in_flight[tenant] -= 1

    def corrected(self, tenant: str, difference: int, error: int, weight: Weight) -> None:
        """Note a correction by ``difference``, which makes the estimate wrong by ``error`` so far."""
        errors = self._over if error > 0 else self._under
        errors[tenant] = max(errors.get(tenant, 0), abs(error) * weight.rate)
        self._charge(tenant, difference * weight.rate)

    @property
    def error(self) -> int:
        """E: the largest total by which what a tenant has in flight can be misjudged."""
        worst = {t: max(self._over.get(t, 0), self._under.get(t, 0)) for t in self._most}
        return max((count * worst[tenant] for tenant, count in self._most.items()), default=0)

    @property
    def two_sided_error(self) -> int:
        """The same, once for costs above their estimates and once for costs below, added."""
        sides = (self._over, self._under)
        return sum(max((self._most[t] * error for t, error in side.items()), default=0) for side in sides)

    def bound(self, skip_budget: int = 0) -> int:
        """Return 2 (1 + sigma) (U + E) in counter units."""
        return 2 * (1 + skip_budget) * (self.largest + self.error)

    def ratio(self, skip_budget: int = 0) -> Fraction:
        """Return the largest gap as a fraction of the bound."""
        return Fraction(self.gap, max(1, self.bound(skip_budget)))

    def service(self, tenant: str) -> Fraction:
        """Return what a tenant was charged, divided by its weight."""
        return Fraction(self._charged.get(tenant, 0), UNITS)

    def _charge(self, tenant: str, units: int) -> None:
        self._charged[tenant] = self._charged.get(tenant, 0) + units
        if tenant not in self._waiting:
            return
        for other in self._waiting:
            if other != tenant:
                self._stretch(_pair(tenant, other), self._difference(tenant, other))

    def _stretch(self, pair: tuple[str, str], difference: int) -> None:
        low, high = self._ranges[pair]
        low, high = min(low, difference), max(high, difference)
        self._ranges[pair] = (low, high)
        self.gap = max(self.gap, high - low)

    def _difference(self, one: str, other: str) -> int:
        first, second = _pair(one, other)
        return self._charged.get(first, 0) - self._charged.get(second, 0)


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)
