"""From few counter units to all: every figure that is counted in them, times the same factor.

Done once at most in the life of a queue, when the first weight comes that needs it. The factor is the same
for all, so no comparison comes out differently.
"""

from __future__ import annotations

from collections.abc import Iterable

from insula.governance.fairness.item import Slip
from insula.governance.fairness.meter import Meter
from insula.governance.fairness.race import Race
from insula.governance.fairness.tenant import Tenant
from insula.governance.fairness.weight import FEW, UNITS, Weight, shared_weight

FACTOR = UNITS // FEW


def refine(race: Race[Tenant], meter: Meter, slips: Iterable[Slip], weights: dict[str, Weight]) -> None:
    """Recount a queue. Takes time in proportion to what it holds."""
    for name, weight in weights.items():
        weights[name] = shared_weight(weight.value, UNITS)
    for tenant in race:
        tenant.weight = shared_weight(tenant.weight.value, UNITS)
        tenant.skipped *= FACTOR
    for slip in slips:
        if slip.charged:
            slip.weight = shared_weight(slip.weight.value, UNITS)
    meter.multiply(race, FACTOR)
    race.multiply(FACTOR)
