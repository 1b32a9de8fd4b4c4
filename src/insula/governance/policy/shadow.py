"""What policies said, counted; and what those in shadow would have done, remembered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from insula.governance.policy.decision import KINDS, Decision, Kind

REMEMBERED = 200
"""Would-be decisions kept for each policy, newest last."""


class WouldBe(NamedTuple):
    """A decision that was not obeyed. ``at``: seconds since the epoch."""

    at: float
    request_id: str
    tenant: str
    decision: Decision


class Tally:
    """Counts of one policy since the platform started, and its last would-be decisions."""

    __slots__ = ("counts", "would_be")

    def __init__(self) -> None:
        self.counts: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self.would_be: deque[WouldBe] = deque(maxlen=REMEMBERED)

    def remember(self, at: float, request_id: str, tenant: str, decision: Decision) -> None:
        """Keep a decision that would have changed something."""
        if decision.kind != "allow":
            self.would_be.append(WouldBe(at, request_id, tenant, decision))

    def newest(self) -> Iterator[WouldBe]:
        """Yield what is remembered, newest first."""
        return iter(tuple(self.would_be)[::-1])
