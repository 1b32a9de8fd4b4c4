"""Books in order pass; one figure changed by one unit, anywhere, is found, and named for what it is."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from insula.governance.burndown import Burn, Burndown, load
from insula.storage import ControlDatabase
from insula.usage import Outbox, Recorder, UsageEvent
from insula.usage.adapters.checking import SqlAccounts
from insula.usage.adapters.sql import SqlBooks
from insula.usage.burning import Burning
from insula.usage.period import Month
from insula.usage.reconciliation import Checked, Reconciliation

SEPTEMBER = Month.parse("2026-09")
PLACE = ("aws.bedrock", "bedrock-runtime")
MODELS = ("claude-opus-5-5", "claude-opus-4-8", "claude-of-tomorrow", "nova-pro", "llama-9")


@pytest.fixture(scope="module")
def burndown() -> Burndown:
    return load()


def debited(make: Any, number: int, burn: Burn | None, draw: random.Random, **more: Any) -> UsageEvent:
    """Return a call whose accounts were all debited as they should be."""
    read = draw.randrange(1, 10_000)
    cached = draw.randrange(read)
    written = draw.randrange(read - cached)
    produced, cost = draw.randrange(5_000), draw.randrange(10**9)
    quota = burn.quota(read, cached, written, produced) if burn else read + produced
    return make(
        number,
        input_tokens=read,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        output_tokens=produced,
        quota_tokens=quota,
        input_quota_tokens=burn.input_side(read, cached, written) if burn else 0,
        output_quota_tokens=burn.output_side(produced) if burn else 0,
        burn_version=burn.version if burn else "",
        ledger_tokens=quota if number % 2 else 0,
        fair_cost=cost,
        fair_charged=cost,
        **more,
    )


def history(make: Any, burndown: Burndown, seed: int = 1, count: int = 60) -> list[UsageEvent]:
    draw = random.Random(seed)
    events = []
    for number in range(count):
        model = draw.choice(MODELS)
        moment = draw.uniform(SEPTEMBER.begin, SEPTEMBER.next.next.begin)
        burn = burndown.find(*PLACE, model, datetime.fromtimestamp(moment, UTC).date())
        more = {"tenant_id": draw.choice(["acme", "blue"]), "model_id": model, "timestamp": moment}
        more |= {"started_at": moment, "app_id": draw.choice([None, "shop"])}
        events.append(debited(make, number, burn if number % 5 else None, draw, **more))
    return events


class Books:
    """Booked calls, and the means to spoil them."""

    def __init__(self, home: Path, events: list[UsageEvent], burndown: Burndown) -> None:
        self.control = ControlDatabase(home / "control.db")
        self.books = SqlBooks(self.control)
        self.books.add(events)
        self.accounts = SqlAccounts(self.control)
        self.burning = Burning(burndown)

    def check(self, tenant: str | None = None) -> Checked:
        checked = Checked()
        for whose, month in self.accounts.slices(tenant):
            self.accounts.check(whose, month, self.burning.rates, checked)
        return checked

    def spoil(self, statement: str) -> None:
        with self.control.begin() as connection:
            assert connection.exec_driver_sql(statement).rowcount == 1


@pytest.fixture(scope="module")
def template(make: Any, tmp_path_factory: pytest.TempPathFactory, burndown: Burndown) -> Path:
    """Books in order, for tests to copy."""
    home: Path = tmp_path_factory.mktemp("books")
    kept = Books(home, history(make, burndown), burndown)
    kept.control.close()
    return home / "control.db"


@pytest.fixture
def kept(template: Path, tmp_path: Path, burndown: Burndown) -> Iterator[Books]:
    shutil.copy(template, tmp_path)
    books = Books(tmp_path, [], burndown)
    yield books
    books.control.close()


@pytest.mark.parametrize("seed", range(5))
def test_books_in_order_pass(make: Any, tmp_path: Path, burndown: Burndown, seed: int) -> None:
    kept = Books(tmp_path, history(make, burndown, seed), burndown)
    assert kept.check().as_dict() == {"calls": 60, "mismatches": 0, "unverified": 0, "details": []}
    assert kept.check("acme").calls + kept.check("blue").calls == 60
    assert kept.check("nobody").calls == 0


def test_re_rated_books_are_in_order_too(kept: Books) -> None:
    done = kept.books.rerate("acme", lambda event: (event.cost_nanousd * 2, "twice"), 0, 2e9, now=1.0)
    assert done.corrected > 10
    assert kept.check().mismatches == 0
    kept.spoil("UPDATE usage_adjustments SET delta_nanousd = delta_nanousd + 1 WHERE event_id = "
               "(SELECT min(event_id) FROM usage_adjustments)")  # fmt: skip
    assert found(kept.check()) == {
        ("hour", "cost_nanousd"),
        ("day", "cost_nanousd"),
        ("invoice", "cost_nanousd"),
    }


def found(checked: Checked) -> set[tuple[str, str]]:
    assert checked.mismatches == len(checked.details)
    return {(one.account, one.field) for one in checked.details}


def sums(field: str) -> set[tuple[str, str]]:
    return {("hour", field), ("day", field), ("invoice", field)}


QUOTA, SIDES = (
    ("limits", "quota_tokens"),
    {("limits", "input_quota_tokens"), ("limits", "output_quota_tokens")},
)
OF_EVENT: dict[str, set[tuple[str, str]]] = {
    # event 1 burns by a row of its own and was drawn from a ledger: each of its figures is bound by others
    "input_tokens": {QUOTA, ("limits", "input_quota_tokens")} | sums("input_tokens"),
    "output_tokens": {QUOTA, ("limits", "output_quota_tokens")} | sums("output_tokens"),
    "quota_tokens": {QUOTA, ("ledger", "ledger_tokens")} | sums("quota_tokens"),
    "input_quota_tokens": {("limits", "input_quota_tokens")},
    "output_quota_tokens": {("limits", "output_quota_tokens")},
    "ledger_tokens": {("ledger", "ledger_tokens")},
    "fair_charged": {("fairness", "fair_charged")},
    "fair_cost": {("fairness", "fair_charged")} | sums("fair_cost"),
    "cost_nanousd": sums("cost_nanousd"),
}


@pytest.mark.parametrize("column", OF_EVENT)
@pytest.mark.parametrize("step", [1, -1])
def test_one_unit_more_or_less_in_a_call_is_found(kept: Books, column: str, step: int) -> None:
    kept.spoil(f"UPDATE usage_events SET {column} = {column} + {step} WHERE event_id = '{chosen()}'")
    assert found(kept.check()) == OF_EVENT[column]


def chosen() -> str:
    return f"evt_{1:026d}"


def test_the_finding_says_which_call_what_was_due_and_what_is_there(kept: Books) -> None:
    kept.spoil(f"UPDATE usage_events SET fair_charged = 5, fair_cost = 5 WHERE event_id = '{chosen()}'")
    before = kept.check()
    kept.spoil(f"UPDATE usage_events SET fair_charged = 6 WHERE event_id = '{chosen()}'")
    (one,) = [one for one in kept.check().details if one not in before.details]
    assert (one.where, one.field, one.expected, one.found) == (chosen(), "fair_charged", 5, 6)


@pytest.mark.parametrize(("table", "account"), [("usage_hourly", "hour"), ("usage_daily", "day")])
@pytest.mark.parametrize("column", ["calls", "input_tokens", "quota_tokens", "fair_cost", "cost_nanousd"])
def test_one_unit_in_a_total_is_found(kept: Books, table: str, account: str, column: str) -> None:
    key = "tenant_id, model_id, app_id, agent_id, " + ("hour" if account == "hour" else "day")
    kept.spoil(
        f"UPDATE {table} SET {column} = {column} + 1 WHERE ({key}) = (SELECT {key} FROM {table} LIMIT 1)"
    )
    expected = {(account, column)} | ({("invoice", column)} if account == "day" else set())
    assert found(kept.check()) == expected


def test_a_call_that_vanished_is_missed_and_one_slipped_in_is_noticed(kept: Books, make: Any) -> None:
    kept.spoil(f"DELETE FROM usage_events WHERE event_id = '{chosen()}'")
    missed = found(kept.check())
    assert {("hour", "calls"), ("day", "calls"), ("invoice", "calls")} <= missed
    names = [row[1] for row in columns(kept)]
    copied = ", ".join("'evt_more'" if name == "event_id" else name for name in names)
    kept.spoil(f"INSERT INTO usage_events SELECT {copied} FROM usage_events WHERE event_id = 'evt_{2:026d}'")
    assert kept.check().mismatches > len(missed)


def columns(kept: Books) -> list[Any]:
    with kept.control.read() as connection:
        return list(connection.exec_driver_sql("PRAGMA table_info(usage_events)"))


def test_a_total_that_vanished_is_missed(kept: Books) -> None:
    kept.spoil("DELETE FROM usage_hourly WHERE hour = (SELECT min(hour) FROM usage_hourly)")
    assert {account for account, _ in found(kept.check())} == {"hour"}


def test_a_call_moved_to_another_day_is_found(kept: Books) -> None:
    kept.spoil(f"UPDATE usage_events SET day = '2026-01-01' WHERE event_id = '{chosen()}'")
    assert found(kept.check()) == {("event", "day")}


def test_parts_beyond_their_whole_are_found(kept: Books) -> None:
    kept.spoil(f"UPDATE usage_events SET reasoning_tokens = output_tokens + 1 WHERE event_id = '{chosen()}'")
    assert ("event", "reasoning_tokens") in found(kept.check())


def test_rates_that_are_gone_are_said_and_not_guessed(make: Any, tmp_path: Path, burndown: Burndown) -> None:
    kept = Books(tmp_path, [make(1, burn_version="own:gone@2020-01-01", quota_tokens=5)], burndown)
    told = kept.check()
    assert (told.calls, told.unverified, told.mismatches) == (1, 1, 0)


def test_details_are_bounded_and_the_count_is_not(make: Any, tmp_path: Path, burndown: Burndown) -> None:
    kept = Books(tmp_path, [make(number, quota_tokens=5) for number in range(300)], burndown)
    told = kept.check()
    assert told.mismatches == 300 and len(told.details) == 200


def test_the_last_call_is_checked_too(make: Any, tmp_path: Path, burndown: Burndown) -> None:
    async def scenario() -> Checked:
        control = ControlDatabase(tmp_path / "control.db")
        recorder = Recorder(Outbox(tmp_path / "usage"), SqlBooks(control), linger_s=30)
        await recorder.start()
        recorder.record(make(1, quota_tokens=120))
        told = await Reconciliation(recorder, SqlAccounts(control), Burning(burndown).rates).check()
        await recorder.stop()
        return told

    told = asyncio.run(scenario())
    assert (told.calls, told.mismatches) == (1, 0)
