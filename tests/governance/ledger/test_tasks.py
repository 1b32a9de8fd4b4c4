"""A task's life in the ledger, step by step."""

from __future__ import annotations

from insula.governance.ledger import (
    Claimed,
    Closed,
    Donated,
    Drawn,
    Exhausted,
    Full,
    Opened,
    Stale,
    State,
    TenantLedger,
)

SECOND = 1_000_000


def ledger(limit: int = 1_000, overdraft: int = 0) -> TenantLedger:
    return TenantLedger("2026-11", limit, overdraft)


def test_a_grant_may_be_part_of_what_is_wanted() -> None:
    one = ledger()
    assert one.open("a", 700, 700, 0) == Opened(700)
    assert one.open("b", 700, 100, 0) == Opened(300)
    assert one.open("c", 1, 1, 0) == Full(1, 0, 900, 1_000, 0, 0)


def test_a_draw_takes_its_own_then_what_is_free_then_a_debt() -> None:
    one = ledger(limit=1_000, overdraft=50)
    one.open("a", 600, 1, 0)
    assert one.draw("a", 500, 0) == Drawn(500, 0)
    assert one.draw("a", 300, 0) == Drawn(100, 200)
    assert one.draw("a", 250, 0) == Drawn(0, 250)
    assert one.book.free == -50
    assert one.draw("a", 1, 0) == Exhausted(1, -50, 1_000, 1_050)


def test_full_and_exhausted_are_told_apart() -> None:
    one = ledger()
    one.open("a", 900, 1, 0)
    full = one.draw(None, 200, 0)
    assert full == Full(200, 100, 810, 900, 0, 0)
    one.draw("a", 850, 0)
    assert one.draw(None, 200, 0) == Exhausted(200, 100, 1_000, 850)


def test_an_idle_task_lends_all_but_its_floor() -> None:
    one = ledger()
    one.open("a", 1_000, 1, 0)
    one.draw("a", 400, 0)
    assert one.tick(20 * SECOND).donated == 0
    assert one.tick(20 * SECOND + 1).donated == 500
    assert one.book.free == 500
    assert one.tick(60 * SECOND).donated == 0, "the floor is of the first grant, and stays"


def test_a_task_that_waits_lends_at_once_and_is_first_in_line_when_it_works_again() -> None:
    one = ledger()
    one.open("a", 1_000, 1, 0)
    assert one.waiting("a", State.WAITING_HUMAN, 0) == Donated(900)
    assert one.open("b", 900, 1, 0) == Opened(900)
    assert one.heartbeat("a", SECOND) == Claimed(900)
    assert isinstance(one.open("c", 500, 1, SECOND), Full), "nothing is free"
    one.close("b", 2 * SECOND)
    assert one.book.open["a"].unused == 1_000, "it came first"
    assert one.book.queue == {}


def test_what_was_lent_is_not_taken_back_from_who_has_it() -> None:
    one = ledger()
    one.open("a", 1_000, 1, 0)
    one.waiting("a", State.SUSPENDED, 0)
    one.open("b", 900, 1, 0)
    one.heartbeat("a", 0)
    assert one.book.open["b"].unused == 900
    assert one.draw("b", 900, 0) == Drawn(900, 0)


def test_claims_are_served_in_the_order_of_asking() -> None:
    one = ledger()
    for rid in ("a", "b"):
        one.open(rid, 500, 1, 0)
        one.waiting(rid, State.WAITING_TIMER, 0)
    one.open("c", 900, 1, 0)
    one.heartbeat("b", SECOND)
    one.heartbeat("a", SECOND)
    one.draw("c", 300, SECOND)
    one.close("c", SECOND)
    assert (one.book.open["b"].unused, one.book.open["a"].unused) == (500, 200)
    assert one.heartbeat("a", SECOND) == Claimed(300)


def test_a_shortage_lets_the_idle_lend_without_a_tick() -> None:
    one = ledger()
    one.open("a", 1_000, 1, 0)
    assert one.open("b", 900, 900, 21 * SECOND) == Opened(900)


def test_a_task_with_a_call_running_is_not_idle() -> None:
    one = ledger()
    one.open("a", 1_000, 1, 0)
    one.hold("call", "a", 10, 10, 0)
    assert one.tick(100 * SECOND).donated == 0


def test_a_child_is_carved_from_its_parent_and_gives_back_to_it() -> None:
    one = ledger()
    one.open("a", 800, 1, 0)
    assert one.child("a.1", "a", 500, 1, 0) == Opened(500)
    assert one.child("a.2", "a", 500, 1, 0) == Opened(300)
    assert one.book.free == 200
    assert one.child("a.3", "a", 10, 10, 0) == Full(10, 0, 720, 800, 0, 0, "parent")
    one.draw("a.1", 100, 0)
    assert one.close("a.1", 0) == Closed(100, 400)
    assert one.book.open["a"].unused == 400
    assert one.close("a", 0) == Closed(100, 400)
    assert one.book.open["a.2"].unused == 300, "a child outlives its parent"
    assert one.close("a.2", 0) == Closed(0, 300)
    assert one.book.free == 900


def test_a_grandchild_goes_to_the_grandparent() -> None:
    one = ledger()
    one.open("a", 800, 1, 0)
    one.child("b", "a", 500, 1, 0)
    one.child("c", "b", 200, 1, 0)
    one.hold("call", "b", 50, 50, 0)
    one.close("b", 0)
    assert one.book.open["c"].parent == one.book.holds["call"].rid == "a"
    one.settle("call", 20, 0)
    assert one.close("c", 0).returned == 200  # type: ignore[union-attr]
    assert one.book.open["a"].unused == 780


def test_a_child_of_nobody_is_refused() -> None:
    assert isinstance(ledger().child("b", "a", 1, 1, 0), Full)


def test_use_after_the_end_is_debited_once_and_flagged() -> None:
    one = ledger()
    one.open("a", 1_000, 1, 0, ttl_us=60 * SECOND)
    assert one.tick(60 * SECOND).expired == ("a",)
    assert one.draw("a", 30, 61 * SECOND, seq=1) == Drawn(0, 30, late=True)
    assert one.draw("a", 30, 62 * SECOND, seq=1) == Drawn(0, 30, late=True)
    assert (one.book.settled, one.book.free, one.book.totals.late) == (30, 970, 30)


def test_a_repetition_is_answered_as_the_first_time() -> None:
    one = ledger()
    assert one.open("a", 600, 1, 0) == Opened(600)
    assert one.draw("a", 100, 0, seq=1) == one.draw("a", 100, 0, seq=1) == Drawn(100, 0)
    closed = one.close("a", 0, seq=2)
    assert one.open("a", 600, 1, 0) == Opened(600), "the old opening, not a new one"
    assert one.book.open == {}
    assert one.open("a", 200, 1, 0, seq=3) == Opened(200), "a new life"
    assert one.close("a", 0, seq=2) == closed
    assert "a" in one.book.open


def test_what_is_too_old_is_not_done_again() -> None:
    one = ledger()
    one.open("a", 600, 1, 0)
    for seq in range(1, 40):
        one.draw("a", 1, 0, seq=seq)
    assert one.draw("a", 1, 0, seq=5) == Stale()
    assert one.book.settled == 39


def test_a_refusal_may_be_asked_again() -> None:
    one = ledger()
    one.open("a", 1_000, 1, 0)
    assert isinstance(one.open("b", 10, 10, 0), Full)
    one.close("a", 0)
    assert one.open("b", 10, 10, 0) == Opened(10)


def test_a_new_period_starts_at_nothing_with_what_runs() -> None:
    one = ledger()
    one.open("a", 400, 1, 0)
    one.hold("call", "a", 100, 100, 0)
    one.draw(None, 500, 0)
    assert one.roll("2026-12")
    assert (one.book.settled, one.book.free) == (0, 600)
    one.settle("call", 70, 0)
    assert one.book.settled == 70
    assert not one.roll("2026-12"), "it has begun"
    assert not one.roll("2026-11"), "time does not go back"


def test_a_lower_limit_takes_nothing_from_who_has_it() -> None:
    one = ledger()
    one.open("a", 800, 1, 0)
    one.set_limit(500)
    assert (one.book.free, one.book.open["a"].unused) == (-300, 800)
    assert isinstance(one.draw(None, 1, 0), Full)
    one.set_limit(1_500, overdraft=7)
    assert (one.book.free, one.book.overdraft) == (700, 7)


def test_what_ended_long_ago_is_forgotten() -> None:
    one = ledger()
    one.open("a", 10, 1, 0)
    one.close("a", 0)
    one.hold("c", None, 10, 1, 0)
    one.settle("c", 1, SECOND)
    assert not one.due(3_599 * SECOND)
    assert one.due(3_600 * SECOND)
    one.tick(3_601 * SECOND)
    assert (one.memory.past, one.memory.calls) == ({}, {})


def test_memory_is_bounded() -> None:
    one = ledger(limit=10**9)
    for number in range(3_000):
        one.open(f"r{number}", 10, 1, 0)
        one.heartbeat(f"stranger{number}", 0, seq=1)
        one.hold(f"c{number}", f"r{number}", 10, 1, 0)
        one.raise_hold(f"c{number}", 1, 0, seq=1)
        one.settle(f"c{number}", 1, 0)
        one.close(f"r{number}", 0)
    memory = one.memory
    assert max(map(len, (memory.answers, memory.past, memory.calls))) <= 1_024
