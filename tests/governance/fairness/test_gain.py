"""Q6: nobody gains by splitting work, by over-estimating it, or by pausing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from insula.governance.fairness import FairQueue, Item, Lane

HONEST = 100
"""What one item of everybody really costs."""


class Contest:
    """One server. Tenant ``a`` plays tricks; ``b`` and ``c`` always have honest work waiting."""

    def __init__(self) -> None:
        self.queue = FairQueue()
        self.ids = count()
        self.real: dict[str, int] = {}
        self.served = {"a": 0, "b": 0, "c": 0}
        self.now_us = 0

    def send(self, tenant: str, real: int = HONEST, estimate: int | None = None) -> None:
        name = f"i{next(self.ids)}"
        self.real[name] = real
        self.queue.enqueue(Item(name, tenant, "f", Lane.INTERACTIVE, estimate or real), self.now_us)

    def run(self, until: int, tricks: Callable[[Contest], None]) -> int:
        """Serve until everybody together received ``until``; return what ``a`` received."""
        while sum(self.served.values()) < until:
            tricks(self)
            for tenant in "bc":
                if not self.queue.waiting(tenant):
                    self.send(tenant)
            self.now_us += 1
            item = self.queue.pick(self.now_us)
            assert item is not None
            self.queue.settle(item.id, self.real[item.id])
            self.served[item.tenant] += self.real[item.id]
        return self.served["a"]


def honest(contest: Contest) -> None:
    if not contest.queue.waiting("a"):
        contest.send("a")


def split(contest: Contest) -> None:
    while contest.queue.waiting("a") < 50:
        contest.send("a", real=1)


def over_estimate(contest: Contest) -> None:
    if not contest.queue.waiting("a"):
        contest.send("a", estimate=5 * HONEST)


def under_estimate(contest: Contest) -> None:
    if not contest.queue.waiting("a"):
        contest.send("a", estimate=1)


def pause(contest: Contest) -> None:
    """Send nothing for a long time, then flood."""
    if sum(contest.served.values()) > 20_000:
        while contest.queue.waiting("a") < 50:
            contest.send("a")


@pytest.mark.parametrize("trick", [split, over_estimate, under_estimate, pause])
def test_no_trick_gains_more_than_the_rounding_of_one_item(trick: Callable[[Contest], None]) -> None:
    fair = Contest().run(30_000, honest)
    assert Contest().run(30_000, trick) <= fair + 2 * HONEST


def test_after_a_pause_one_shares_from_there_on() -> None:
    gained = Contest().run(50_000, pause) - Contest().run(20_000, pause)
    assert abs(gained - 10_000) <= 2 * HONEST


def test_what_is_charged_twice_over_is_returned_at_the_end() -> None:
    fair, over = Contest().run(30_000, honest), Contest().run(30_000, over_estimate)
    assert abs(fair - over) <= 2 * 5 * HONEST
