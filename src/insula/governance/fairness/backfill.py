"""Backfill: let a small item past a large one that does not fit, within a budget.

Waiting for room leaves slots idle; letting others past lengthens the wait. So each tenant has a skip
budget of ``sigma`` times U, U being the largest charge so far. What is let past is charged to *every*
tenant it passes over; once a budget is used up the queue drains until that tenant's head fits.

A tenant's own service pays its skips back. (Clearing them at each dispatch, as one might, lets the
distance grow with every small item served between two skips.) By induction no counter is ever more than
U + skips above another's, so the bound of the queue becomes ``2 (1 + sigma) (U + E)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from insula.governance.fairness.item import Item
from insula.governance.fairness.race import Race
from insula.governance.fairness.tenant import Tenant


def first_that_fits(
    race: Race[Tenant], fits: Callable[[Item], bool], budget: int, refresh: Callable[[Tenant], object]
) -> tuple[Tenant, list[Tenant]] | None:
    """Return the first tenant whose head fits, and those passed over for it; ``None`` to wait.

    ``fits`` is asked once about each head, and never about one that could not be served anyway, so it may
    reserve. ``budget`` in counter units. ``refresh`` brings a tenant's head up to date.
    """
    passed: list[Tenant] = []
    room = 0
    with closing(race.in_order()) as tenants:
        for tenant in tenants:
            refresh(tenant)
            head = tenant.head
            assert head is not None
            if passed and head.price > room:
                return None
            if fits(head.item):
                return tenant, passed
            left = budget - tenant.skipped
            room = min(room, left) if passed else left
            if room <= 0:
                return None
            passed.append(tenant)
    return None


def pass_over(race: Race[Tenant], passed: Sequence[Tenant], units: int) -> None:
    """Charge a skip to everybody who was passed over."""
    for tenant in passed:
        tenant.skipped += units
        race.moved(tenant)


def inherit(newcomer: Tenant, first: Tenant) -> None:
    """Let a tenant that joins take over the skips of the one it was lifted to.

    Others may be that much ahead of it already.
    """
    newcomer.skipped = max(0, first.skipped - (newcomer.counter - first.counter))
