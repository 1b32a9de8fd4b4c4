"""Usage: one event per call, durable before the call ends, counted exactly once, priced in integers."""

from insula.usage.event import SCHEMA, UNPRICED, UsageEvent
from insula.usage.outbox import Outbox
from insula.usage.period import Period
from insula.usage.prices import PriceBook
from insula.usage.recorder import Books, Recorder
from insula.usage.report import UsageReport, UsageReports
from insula.usage.row import UsageRow
from insula.usage.spent import Spent
from insula.usage.tokens import Tokens

__all__ = [
    "SCHEMA",
    "UNPRICED",
    "Books",
    "Outbox",
    "Period",
    "PriceBook",
    "Recorder",
    "Spent",
    "Tokens",
    "UsageEvent",
    "UsageReport",
    "UsageReports",
    "UsageRow",
]
