"""Do the accounts that decide about calls now agree with the usage records?

Budgets count on meters, the tenants' ledgers count what is settled: both are kept apart from the records,
because they are asked before every call. Here they are held against them, to the unit.
"""

from __future__ import annotations

from insula.governance import PLATFORM
from insula.governance.quota.meter import Use
from insula.usage.reconciliation import Mismatch
from insula.wiring.governing import Governing


async def contradictions(governing: Governing, tenant: str | None = None) -> list[Mismatch]:
    """Return where meters and ledgers contradict the records of this month, of one tenant or of all.

    Must be called on the event loop that serves calls: what was counted up to this moment is compared with
    what was recorded up to it.
    """
    governor = governing.governor
    if governor is None:
        return []  # the counters are elsewhere, and not this gateway's alone
    moment = governing.clock.now()
    meters = {key: governor.used(key, "month") for key in governor.meters() if _concerns(key, tenant)}
    ledgers = {
        key: (governor.used(key, budget.window).quota, standing.settled)
        for key in meters
        if "/" not in key
        and key != PLATFORM
        and (budget := governing.token_budget(key)) is not None
        and (standing := governing.ledgers.standing(key)) is not None
    }
    found = [
        Mismatch("ledger", key, "period", "quota_tokens", counted, settled)
        for key, (counted, settled) in ledgers.items()
        if counted != settled
    ]
    recorded = await governing.records.used(tuple(meters), moment)
    for key, counted in meters.items():
        found += _differences(key, recorded[key], counted)
    return found


def _concerns(level: str, tenant: str | None) -> bool:
    return tenant is None or level.partition("/")[0] == tenant


def _differences(level: str, booked: Use, counted: Use) -> list[Mismatch]:
    whose = "platform" if level == PLATFORM else level
    fields = ("quota_tokens", "cost_nanousd", "calls")
    return [
        Mismatch("limits", whose, "this month", field, right, found)
        for field, right, found in zip(fields, booked, counted, strict=True)
        if right != found
    ]
