"""Fair queuing: whose turn it is when there is not enough for all. Pure; the order is the only decision."""

from insula.governance.fairness.dominant import Capacity, Demand, dominant_ns, kv_token_ns, model_call
from insula.governance.fairness.item import Item
from insula.governance.fairness.lane import Lane, must_have, parse_lane
from insula.governance.fairness.overview import FairnessOverview, FairnessSource, Lent, QueueFairness
from insula.governance.fairness.queue import FairQueue
from insula.governance.fairness.report import FairnessReport, TenantFairness, WaitingTimes
from insula.governance.fairness.weight import Weight, parse_weight

__all__ = [
    "Capacity",
    "Demand",
    "FairQueue",
    "FairnessOverview",
    "FairnessReport",
    "FairnessSource",
    "Item",
    "Lane",
    "Lent",
    "QueueFairness",
    "TenantFairness",
    "WaitingTimes",
    "Weight",
    "dominant_ns",
    "kv_token_ns",
    "model_call",
    "must_have",
    "parse_lane",
    "parse_weight",
]
