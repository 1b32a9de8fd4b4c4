"""What was spent, by the hour: what budgets are rebuilt from when the platform starts."""

from __future__ import annotations

from typing import NamedTuple


class Spent(NamedTuple):
    """What one tenant's app and agent used in one hour.

    ``app`` and ``agent`` are empty for calls without one; ``hour`` counts whole hours since the epoch (UTC).
    ``cost_nanousd`` includes corrections of prices.
    """

    tenant: str
    app: str
    agent: str
    hour: int
    quota_tokens: int
    cost_nanousd: int
    calls: int
