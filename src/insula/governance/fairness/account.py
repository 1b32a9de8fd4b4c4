"""What one tenant received from a queue, beside what it was entitled to."""

from __future__ import annotations

from insula.governance.fairness.histogram import Histogram


class Account:
    """Figures of one tenant. Kept for display: no decision reads them.

    ``offered`` is the service that all tenants together received while this one waited, ``received`` its
    own part of it, ``entitled`` the part its weight gave it among those who waited. ``gap`` is the largest
    distance, in counter units, between its counter and another's while both waited.
    """

    __slots__ = (
        "at_entitlement",
        "at_service",
        "at_total",
        "at_us",
        "backlogged_us",
        "batch_waits",
        "dispatches",
        "entitled",
        "gap",
        "interactive_waits",
        "most_in_flight",
        "offered",
        "received",
        "service",
        "weight",
        "worst_over",
        "worst_under",
    )

    def __init__(self) -> None:
        self.interactive_waits: Histogram | None = None
        self.batch_waits: Histogram | None = None
        self.weight = 1.0
        self.dispatches = 0
        self.service = 0
        self.offered = 0
        self.received = 0
        self.entitled = 0.0
        self.backlogged_us = 0
        self.gap = 0
        self.most_in_flight = 0
        self.worst_over = 0
        self.worst_under = 0
        self.at_us: int | None = None
        self.at_service = 0
        self.at_total = 0
        self.at_entitlement = 0.0
