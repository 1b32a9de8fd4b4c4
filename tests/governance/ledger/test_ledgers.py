"""The ledgers of one process: who has one, what survives, what happens when the disk is full."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_trace import Walk

from insula.governance.ledger import (
    Budget,
    Claimed,
    Closed,
    Donated,
    Exhausted,
    Full,
    Held,
    Ledgers,
    Opened,
    Settled,
    State,
    keep_ledgers,
)
from insula.governance.ledger.journal import NAME
from insula.governance.ledger.wants import COLD, Wants
from insula.kernel.clock import ManualClock
from insula.kernel.errors import Misconfigured, UnavailableError

NOVEMBER_30 = 1_796_079_000.0
"""2026-11-30 22:50 UTC."""


class Home:
    """Ledgers that can be killed and opened again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(NOVEMBER_30)
        self.budgets: dict[str, Budget] = {"acme": Budget(1_000), "zeta": Budget(500, "day")}
        self.ledgers = self.open()

    def open(self) -> Ledgers:
        return Ledgers(self.directory, self.clock, self.budgets.get)

    def die(self) -> Ledgers:
        self.ledgers._chronicle.close()
        self.clock = ManualClock(self.clock.now())
        self.ledgers = self.open()
        return self.ledgers


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "ledgers")
    yield made
    made.ledgers._chronicle.close()


def test_who_has_no_budget_is_not_counted(home: Home) -> None:
    ledgers = home.ledgers
    assert not ledgers.has("nobody")
    assert ledgers.open("nobody", "r", "agent", 10, 1) is None
    assert ledgers.hold("nobody", "c", None, 10, 1) is None
    assert ledgers.settle("nobody", "c", 10) is ledgers.release("nobody", "c") is None
    assert ledgers.close("nobody", "r") is ledgers.standing("nobody") is None


def test_a_life_in_the_ledger(home: Home) -> None:
    ledgers = home.ledgers
    assert ledgers.open("acme", "r", "agent", 800, 1) == Opened(800)
    assert ledgers.hold("acme", "c", "r", 300, 1) == Held(300)
    assert ledgers.raise_hold("acme", "c", 100) == Held(100)
    assert ledgers.settle("acme", "c", 350) == Settled(350, 50)
    assert ledgers.waiting("acme", "r", State.WAITING_HUMAN) == Donated(370)
    assert ledgers.heartbeat("acme", "r") == Claimed(0)
    standing = ledgers.standing("acme")
    assert standing is not None
    assert standing.limit == standing.settled + standing.unused + standing.held + standing.free
    assert (standing.donated, standing.reclaimed, standing.settled) == (370, 370, 350)
    assert standing.as_dict()["tasks"][0]["used"] == 350
    assert ledgers.close("acme", "r") == Closed(350, 450)
    assert ledgers.totals().settled == 350


def test_one_tenant_does_not_touch_another(home: Home) -> None:
    """L7: a tenant's steps give the same answers whatever a neighbour does between them."""
    path, other = Walk(3), Walk(4)
    home.budgets |= {name: Budget(10_000) for name in ("alone", "beside", "neighbour")}
    for _ in range(200):
        entry, noise = path.next(), other.next()
        alone, beside = (home.ledgers._roster.find(name) for name in ("alone", "beside"))
        neighbour = home.ledgers._roster.find("neighbour")
        getattr(neighbour, noise[0])(**noise[1])
        answers = [getattr(ledger, entry[0])(**entry[1]) for ledger in (alone, beside)]
        assert repr(answers[0]) == repr(answers[1])
    assert alone is not None and beside is not None
    assert alone.snapshot() == beside.snapshot()


def test_death_loses_nothing(home: Home) -> None:
    home.ledgers.open("acme", "r", "agent", 800, 1)
    home.ledgers.hold("acme", "c", "r", 300, 1)
    home.ledgers.settle("acme", "c", 250)
    home.ledgers.learn("acme", "agent", 77)
    before = home.ledgers.standing("acme")
    home.die()
    assert home.ledgers.standing("acme") == before
    assert home.ledgers.want("acme", "agent") == (77, 8)
    assert home.ledgers.settle("acme", "c", 250) == Settled(250, 50), "it was settled before"


def test_a_call_that_ran_at_death_is_charged_its_input_and_may_still_settle(home: Home) -> None:
    home.ledgers.open("acme", "r", "agent", 800, 1)
    home.ledgers.hold("acme", "c", "r", 300, 1, sure=40)
    ledgers = home.die()
    standing = ledgers.standing("acme")
    assert standing is not None and (standing.held, standing.settled) == (0, 40)
    assert ledgers.settle("acme", "c", 100) == Settled(60, 0, 60, late=True)


def test_reservations_of_tasks_that_ended_are_closed(home: Home) -> None:
    for rid in ("goes on", "ended", "ended too"):
        home.ledgers.open("acme", rid, "agent", 100, 1)
    assert home.die().keep_only({"goes on"}) == 2
    standing = home.ledgers.standing("acme")
    assert standing is not None and [task.rid for task in standing.tasks] == ["goes on"]


def test_downtime_and_the_wall_clock_make_nobody_idle(home: Home) -> None:
    home.ledgers.open("acme", "r", "agent", 800, 1)
    home.clock.advance(15)
    home.ledgers.hold("acme", "c", None, 1, 1)
    home.clock = ManualClock(home.clock.now() + 300)
    home.die()
    home.clock.advance(4)
    home.ledgers.tick()
    assert home.ledgers.totals().donated == 0
    home.clock.advance(2)
    home.ledgers.tick()
    assert home.ledgers.totals().donated == 720


def test_a_new_month_begins_without_a_tick(home: Home) -> None:
    home.ledgers.hold("acme", "c", None, 1_000, 1)
    home.ledgers.settle("acme", "c", 1_000)
    assert isinstance(home.ledgers.hold("acme", "d", None, 1, 1), Exhausted)
    home.clock.advance(4_199)
    assert isinstance(home.ledgers.hold("acme", "e", None, 1, 1), Exhausted)
    home.clock.advance(1)
    assert home.ledgers.hold("acme", "f", None, 1, 1) == Held(1)
    standing = home.ledgers.standing("acme")
    assert standing is not None and standing.period == "2026-12"


def test_a_month_that_began_during_downtime_begins_at_the_start(home: Home) -> None:
    home.ledgers.hold("acme", "c", None, 1_000, 1)
    home.ledgers.settle("acme", "c", 1_000)
    home.clock.advance(7_200)
    standing = home.die().standing("acme")
    assert standing is not None and (standing.period, standing.free) == ("2026-12", 1_000)


def test_who_used_nothing_in_a_period_is_forgotten(home: Home) -> None:
    home.ledgers.hold("zeta", "c", None, 1, 1)
    home.ledgers.release("zeta", "c")
    home.clock.advance(7_200)
    home.ledgers.tick()
    assert home.ledgers.totals().ledgers == 0


def test_a_budget_may_change_and_go(home: Home) -> None:
    home.ledgers.open("acme", "r", "agent", 800, 1)
    home.budgets["acme"] = Budget(500, overdraft=20)
    home.ledgers.changed("acme")
    standing = home.ledgers.standing("acme")
    assert standing is not None and (standing.limit, standing.free, standing.overdraft) == (500, -300, 20)
    home.budgets["acme"] = Budget(900, "day")
    home.ledgers.changed("acme")
    standing = home.ledgers.standing("acme")
    assert standing is not None and standing.period == "2026-11-30"
    del home.budgets["acme"]
    home.ledgers.changed("acme")
    assert home.ledgers.hold("acme", "c", "r", 10, 1) is None
    home.budgets["acme"] = Budget(5)
    home.ledgers.changed("acme")
    assert home.ledgers.hold("acme", "c", "r", 10, 1) == Held(5)


def test_refusals_are_counted_by_kind(home: Home) -> None:
    home.ledgers.open("acme", "r", "agent", 1_000, 1)
    assert isinstance(home.ledgers.open("acme", "s", "agent", 10, 1), Full)
    assert isinstance(home.ledgers.hold("acme", "c", None, 2_000, 2_000), Exhausted)
    assert (home.ledgers.totals().refused_full, home.ledgers.totals().refused_exhausted) == (1, 1)


def test_a_full_disk_admits_nothing_and_loses_no_use(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ledgers = home.ledgers
    ledgers.open("acme", "r", "agent", 800, 1)
    ledgers.hold("acme", "c", "r", 300, 1)

    def full(_fd: int, _data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    real = os.write
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UnavailableError, match="No space left"):
        ledgers.hold("acme", "d", "r", 10, 1)
    assert ledgers.settle("acme", "c", 250) == Settled(250, 50)
    ledgers.tick()
    with pytest.raises(UnavailableError, match="lacks"):
        ledgers.hold("acme", "d", "r", 10, 1)
    monkeypatch.setattr(os, "write", real)
    home.clock.advance(1)
    ledgers.tick()
    assert ledgers.hold("acme", "d", "r", 10, 1) == Held(10)
    ledgers.settle("acme", "d", 10)
    standing = home.die().standing("acme")
    assert standing is not None and standing.settled == 260


def test_the_journal_stays_short(home: Home) -> None:
    home.ledgers.stop()
    home.ledgers = Ledgers(home.directory, home.clock, home.budgets.get, compact_bytes=1_000)
    sizes = []
    for number in range(3_000):
        home.ledgers.hold("acme", f"c{number}", None, 1, 1)
        home.ledgers.release("acme", f"c{number}")
        if number % 100 == 0:
            home.ledgers.tick()
            sizes.append((home.directory / NAME).stat().st_size)
    assert max(sizes) < 500_000
    assert home.die().totals().settled == 0


def test_a_damaged_journal_is_kept_aside_and_told(home: Home) -> None:
    for number in range(5):
        home.ledgers.hold("acme", f"c{number}", None, 10, 1)
        home.ledgers.settle("acme", f"c{number}", 10)
    path = home.directory / NAME
    lines = path.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b"settle", b"settlf")
    lines[-3] = b"garbage\n"
    path.write_bytes(b"".join(lines))
    ledgers = home.die()
    assert ledgers.found.broken == (len(lines) - 2, len(lines))
    assert (home.directory / f"{NAME}.damaged-1").read_bytes() == b"".join(lines)
    standing = ledgers.standing("acme")
    assert standing is not None and standing.settled == 30, "what is left of it is right"
    assert standing.limit == standing.settled + standing.unused + standing.held + standing.free


def test_a_disk_that_is_full_at_the_start_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.ledgers._chronicle.close()

    def full(_fd: int, _data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(Misconfigured, match="No space left"):
            home.open()
    home.ledgers = home.open()


def test_a_journal_of_another_version_is_refused(home: Home) -> None:
    with pytest.raises(TypeError):
        home.ledgers._chronicle.note(["acme", "create", {"period": "2026-11", "limit": 1, "colour": "red"}])
    home.ledgers._chronicle.close()
    with pytest.raises(Misconfigured, match="by this version"):
        home.open()
    (home.directory / NAME).unlink()
    home.ledgers = home.open()


def test_a_defect_of_a_caller_does_not_outlive_the_process(home: Home) -> None:
    home.ledgers.hold("acme", "c", None, 30, 1)
    with pytest.raises(AssertionError):
        home.ledgers.hold("acme", "d", None, 10, 20)
    assert home.die().settle("acme", "c", 30) == Settled(30, 0, 30, late=True)


def test_children_may_end_with_their_parent(home: Home) -> None:
    home.ledgers.open("acme", "r", "agent", 800, 1)
    home.ledgers.child("acme", "r.1", "r", "agent", 300, 1)
    home.ledgers.child("acme", "r.1.1", "r.1", "agent", 100, 1)
    assert home.ledgers.hold("acme", "c", "r.1.1", 50, 1) == Held(50)
    assert home.ledgers.settle("acme", "c", 20) == Settled(20, 30)
    assert home.ledgers.close("acme", "r", with_children=True) == Closed(20, 780)
    standing = home.ledgers.standing("acme")
    assert standing is not None and (standing.tasks, standing.free) == ((), 980)


def test_what_a_task_wants_is_learned() -> None:
    wants = Wants()
    assert wants.want("acme", "agent") == (COLD, 1)
    for _ in range(100):
        wants.learn("acme", "agent", 1_000)
    assert wants.want("acme", "agent") == (1_000, 100), "tasks that are all alike need no margin"
    for number in range(64):
        wants.learn("acme", "agent", 100 * (number + 1))
    assert wants.want("acme", "agent") == (6_680, 668), "q95 is 6,100, the median 3,200"
    again = Wants()
    again.restore(wants.snapshot())
    assert again.want("acme", "agent") == wants.want("acme", "agent")
    wants.forget("acme")
    assert wants.want("acme", "agent") == (COLD, 1)


def test_the_keeper_ticks_and_makes_durable(home: Home) -> None:
    async def main() -> None:
        home.ledgers.open("acme", "r", "agent", 800, 1)
        keeping = asyncio.create_task(keep_ledgers(home.ledgers, 0.001))
        home.clock.advance(30)
        async with asyncio.timeout(10):
            while not home.ledgers.totals().donated or home.ledgers._chronicle._journal.dirty:
                await asyncio.sleep(0.01)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(main())


def test_who_waits_for_tokens_hears_when_some_may_be_free(home: Home) -> None:
    heard: list[str] = []
    home.ledgers.open("acme", "r", "agent", 500, 1)
    home.ledgers.hold("acme", "c", "r", 100, 1)
    home.ledgers.tell_freed(heard.append)
    home.ledgers.hold("acme", "d", "r", 100, 1)
    assert heard == []
    home.ledgers.settle("acme", "c", 30)
    home.ledgers.waiting("acme", "r", State.SUSPENDED)
    home.ledgers.close("acme", "r")
    assert heard == ["acme"] * 3
    home.clock.advance(4_200)
    home.ledgers.tick()
    assert len(heard) > 3, "a new period began"


def test_time_ends_what_nobody_ends(home: Home) -> None:
    home.ledgers.open("acme", "r", "agent", 500, 1, ttl_us=60_000_000)
    home.ledgers.hold("acme", "c", None, 100, 1, sure=30, ttl_us=10_000_000)
    home.clock.advance(61)
    home.ledgers.tick()
    standing = home.ledgers.standing("acme")
    assert standing is not None and (standing.tasks, standing.held, standing.settled) == ((), 0, 30)


def test_a_deleted_tenant_is_forgotten(home: Home) -> None:
    home.ledgers.open("acme", "r", "agent", 500, 1)
    home.ledgers.learn("acme", "agent", 77)
    home.ledgers.forget("acme")
    assert home.ledgers.totals().ledgers == 0
    assert home.die().want("acme", "agent") == (COLD, 1)


def test_use_that_cannot_be_written_stops_new_calls(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.ledgers.hold("acme", "c", None, 100, 1)

    def broken(_fd: int, _data: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", broken)
        assert home.ledgers.settle("acme", "c", 60) == Settled(60, 40)
    with pytest.raises(UnavailableError, match="lacks"):
        home.ledgers.open("acme", "r", "agent", 10, 1)
    home.ledgers.tick()
    assert home.ledgers.open("acme", "r", "agent", 10, 1) == Opened(10)
    standing = home.die().standing("acme")
    assert standing is not None and standing.settled == 60
