"""What was posted in a tenant's stretch of time: each event and each correction, as figures that add up.

The statement is the body of a common table expression. It takes ``:tenant``, ``:begin`` and ``:end`` and has
the columns of ``COLUMNS``: a correction stands at the moment of its event, with 0 calls and its differences.
"""

from __future__ import annotations

from insula.usage.adapters.tables import ADJUSTMENTS, EVENTS
from insula.usage.event import UNPRICED
from insula.usage.row import SUMS

_KEY = {
    "moment": "CAST(e.timestamp AS INTEGER)",
    "app": "ifnull(e.app_id, '')",
    "agent": "ifnull(e.agent_id, '')",
    "model": "e.model_id",
    "kind": "e.kind",
    "provider": "e.provider",
}
_OWN = {
    "calls": "1",
    "estimated_calls": "e.usage_source <> 'provider'",
    "unpriced_calls": f"e.price_version = '{UNPRICED}'",
}
_DELTAS = {"cost_nanousd": "a.delta_nanousd", "unpriced_calls": "a.delta_unpriced"}

COLUMNS = ", ".join((*_KEY, *SUMS))
ADDED = ", ".join(f"ifnull(sum({name}), 0)" for name in SUMS)

_OF_EVENTS = ", ".join((*_KEY.values(), *(_OWN.get(name, f"e.{name}") for name in SUMS)))
_OF_DELTAS = ", ".join((*_KEY.values(), *(_DELTAS.get(name, "0") for name in SUMS)))
_WHEN = "e.timestamp >= :begin AND e.timestamp < :end"
POSTINGS = f"""
SELECT {_OF_EVENTS} FROM {EVENTS.name} e WHERE e.tenant_id = :tenant AND {_WHEN}
UNION ALL
SELECT {_OF_DELTAS} FROM {ADJUSTMENTS.name} a CROSS JOIN {EVENTS.name} e ON e.event_id = a.event_id
WHERE a.tenant_id = :tenant AND {_WHEN}
"""  # noqa: S608 - names of our own
