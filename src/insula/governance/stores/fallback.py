"""What a gateway does by itself while the store of limits is away.

Money and calendar budgets fail closed. Rates fail open, within bounds: each of N gateways lets through the
N-th part of each limit, and a limit too small to be divided fails closed. Both are counted, and what was used
is debited from the store when it is back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, replace
from typing import Any

from insula.governance.quota.governor import Governor
from insula.governance.quota.grant import Grant
from insula.governance.quota.limits import RATES, UNLIMITED, Limits
from insula.governance.quota.need import Need
from insula.governance.scope import Scope
from insula.kernel.errors import EnforcementUnavailable

RETRY_AFTER_S = 1.0


@dataclass(slots=True)
class Outages:
    """What happened while the store was away, since this process started."""

    fail_open_s: float = 0.0
    failed_open: int = 0
    failed_closed: int = 0
    store_lost: int = 0
    store_changed: int = 0

    @classmethod
    def total(cls, outages: Iterable[Outages]) -> Outages:
        """Return the sums of several."""
        return cls(*(sum(figures) for figures in zip(*(astuple(one) for one in outages), strict=True)))


def unavailable(why: str = "the store of limits cannot be reached") -> EnforcementUnavailable:
    """Return the error of what fails closed."""
    return EnforcementUnavailable(
        why, hint=f"nothing was spent; retry in {RETRY_AFTER_S:.0f} s", retry_after_s=RETRY_AFTER_S
    )


def share(limits: Limits, gateways: int) -> Limits | None:
    """Return the part of ``limits`` that one of so many gateways may use alone; ``None``: nothing is left."""
    parts: dict[str, Any] = {}
    for name in (*RATES, *(f"{rate}_burst" for rate in RATES), "in_flight"):
        figure = getattr(limits, name)
        if figure is not None:
            parts[name] = figure // gateways
    return None if 0 in parts.values() else replace(limits, **parts)


class Fallback:
    """Limits of one gateway alone, from the moment the store went away."""

    def __init__(
        self, clock_us: Callable[[], int], limits_for: Callable[[str], Limits], gateways: int
    ) -> None:
        self._limits_for = limits_for
        self._gateways = gateways
        self._governor = Governor(clock_us, self._share)
        self.expire = self._governor.expire
        self.sent = self._governor.sent
        self.progress = self._governor.progress
        self.settle = self._governor.settle
        self.cancel = self._governor.cancel
        self.standing = self._governor.standing

    def reserve(self, scope: Scope, rid: str, need: Need, ttl_s: float) -> Grant:
        """Hold what a call needs of this gateway's share.

        Raises the errors of ``Governor.reserve``, and ``EnforcementUnavailable`` where a limit fails closed.
        """
        for _, key in scope.levels():
            limits = self._limits_for(key)
            if limits.budgeted:
                raise unavailable()
            if share(limits, self._gateways) is None:
                raise unavailable()
        return self._governor.reserve(scope, rid, need, ttl_s)

    def set_limits(self, key: str) -> None:
        """Take over a change of limits."""
        self._governor.set_limits(key, None)

    def _share(self, key: str) -> Limits:
        return share(self._limits_for(key), self._gateways) or UNLIMITED
