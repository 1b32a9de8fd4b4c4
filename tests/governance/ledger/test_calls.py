"""Calls before the ledger: held before they run, settled to the token."""

from __future__ import annotations

import pytest

from insula.governance.ledger import Exhausted, Full, Held, Settled, TenantLedger

SECOND = 1_000_000


def ledger(limit: int = 1_000, overdraft: int = 0) -> TenantLedger:
    return TenantLedger("2026-11", limit, overdraft)


def test_calls_that_come_together_do_not_pass_the_same_check() -> None:
    one = ledger()
    answers = [one.hold(f"c{number}", None, 300, 300, 0) for number in range(64)]
    assert answers[:3] == [Held(300)] * 3
    assert all(answer == Full(300, 100, 0, 0, 900, 0) for answer in answers[3:])


def test_sub_agents_of_one_task_do_not_drain_it_twice() -> None:
    one = ledger()
    one.open("a", 1_000, 1, 0)
    granted = [one.hold(f"c{number}", "a", 300, 100, 0) for number in range(64)]
    assert [answer.granted for answer in granted if isinstance(answer, Held)] == [300, 300, 300, 100]


def test_a_hold_is_elastic_down_to_the_least() -> None:
    one = ledger()
    assert one.hold("a", None, 800, 1, 0) == Held(800)
    assert one.hold("b", None, 800, 100, 0) == Held(200)
    assert isinstance(one.hold("c", None, 800, 1, 0), Full)


def test_what_was_not_used_goes_back_where_it_came_from() -> None:
    one = ledger()
    one.open("a", 500, 1, 0)
    assert one.hold("c", "a", 700, 700, 0) == Held(700)
    assert (one.book.open["a"].unused, one.book.free) == (0, 300)
    assert one.settle("c", 550, 0) == Settled(550, 150)
    assert (one.book.open["a"].used, one.book.open["a"].unused, one.book.free) == (500, 0, 450)
    one.hold("d", "a", 100, 1, 0)
    assert one.release("d", 0) == Settled(0, 100)
    assert one.book.free == 450


def test_a_call_that_used_more_is_debited_all_of_it() -> None:
    one = ledger(limit=100)
    one.hold("c", None, 60, 60, 0)
    assert one.settle("c", 130, 0) == Settled(130, 0, 70)
    assert (one.book.settled, one.book.free, one.book.totals.overrun) == (130, -30, 30)
    assert isinstance(one.hold("d", None, 1, 1, 0), Exhausted)


def test_a_hold_can_be_raised_as_long_as_there_is_something() -> None:
    one = ledger()
    one.open("a", 500, 1, 0)
    one.hold("c", "a", 400, 1, 0)
    assert one.raise_hold("c", 300, 0, seq=1) == Held(300)
    assert one.raise_hold("c", 300, 0, seq=1) == Held(300), "the same raise"
    assert one.raise_hold("c", 900, 0, seq=2) == Held(300)
    assert one.raise_hold("c", 1, 0, seq=3) == Held(0)
    assert one.settle("c", 1_000, 0) == Settled(1_000, 0)
    assert one.raise_hold("c", 1, 0, seq=4) == Held(0), "it is over"


def test_the_overdraft_is_for_calls() -> None:
    one = ledger(limit=100, overdraft=50)
    assert one.hold("c", None, 500, 1, 0) == Held(150)
    assert one.book.free == -50
    assert isinstance(one.open("a", 1, 1, 0), Full)
    one.settle("c", 150, 0)
    assert isinstance(one.open("a", 1, 1, 0), Exhausted)


def test_a_call_of_a_closed_task_holds_on_without_it() -> None:
    one = ledger()
    one.open("a", 500, 1, 0)
    one.hold("c", "a", 200, 1, 0)
    one.close("a", 0)
    assert one.settle("c", 50, 0) == Settled(50, 150)
    assert (one.book.settled, one.book.free) == (50, 950)


@pytest.mark.parametrize(("used", "more"), [(0, 0), (40, 0), (100, 60), (500, 460)])
def test_a_lost_call_is_charged_its_input_and_settles_late_once(used: int, more: int) -> None:
    one = ledger()
    one.hold("c", None, 100, 1, 0, sure=40, ttl_us=10 * SECOND)
    assert one.tick(10 * SECOND).lapsed == ("c",)
    assert (one.book.settled, one.book.free) == (40, 960)
    late = Settled(more, 0, more, late=True)
    assert one.settle("c", used, 11 * SECOND) == one.settle("c", used, 12 * SECOND) == late
    assert one.book.settled == 40 + more


def test_a_settle_that_overtakes_its_hold_counts_and_the_hold_does_not_come_back() -> None:
    one = ledger()
    assert one.settle("c", 70, 0) == Settled(70, 0, 70, late=True)
    assert one.hold("c", None, 100, 1, 0) == Held(0)
    assert (one.book.settled, one.book.holds) == (70, {})


def test_a_call_is_held_once_and_settled_once() -> None:
    one = ledger()
    assert one.hold("c", None, 100, 1, 0) == one.hold("c", None, 900, 1, 0) == Held(100)
    assert one.settle("c", 30, 0) == one.settle("c", 99, 0) == one.release("c", 0) == Settled(30, 70)
    assert one.hold("c", None, 100, 1, 0) == Held(100)
    assert (one.book.settled, one.book.holds) == (30, {})
