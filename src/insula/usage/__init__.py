"""Usage: one event per call, durable before the call ends, counted exactly once, priced in integers."""

from insula.usage.burning import Burning
from insula.usage.chargeback import Chargeback
from insula.usage.event import SCHEMA, UNPRICED, UsageEvent
from insula.usage.outbox import Outbox
from insula.usage.period import Month, Period
from insula.usage.prices import PriceBook
from insula.usage.reconciliation import Reconciliation
from insula.usage.recorder import Books, Recorder
from insula.usage.report import UsageReport, UsageReports
from insula.usage.rerating import Rerating
from insula.usage.row import UsageRow
from insula.usage.shared_cost import Basis, SharedCost, nano_of
from insula.usage.spent import Spent
from insula.usage.tokens import Tokens
from insula.usage.under_way import Sent, UnderWay, Used

__all__ = [
    "SCHEMA",
    "UNPRICED",
    "Basis",
    "Books",
    "Burning",
    "Chargeback",
    "Month",
    "Outbox",
    "Period",
    "PriceBook",
    "Reconciliation",
    "Recorder",
    "Rerating",
    "Sent",
    "SharedCost",
    "Spent",
    "Tokens",
    "UnderWay",
    "UsageEvent",
    "UsageReport",
    "UsageReports",
    "UsageRow",
    "Used",
    "nano_of",
]
