"""Usage, invoices and the check of the books as scripts see them: JSON, CSV, FOCUS, exit codes."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from insula.cli.main import run
from insula.storage import ControlDatabase
from insula.usage import UsageEvent
from insula.usage.adapters.sql import SqlBooks

pytestmark = pytest.mark.slow

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC).timestamp()


def call(number: int, tenant: str) -> UsageEvent:
    return UsageEvent(
        event_id=f"{tenant}-{number}",
        tenant_id=tenant,
        request_id=f"r{number}",
        provider="openai",
        model_id="m1",
        app_id="shop" if number % 2 else None,
        timestamp=NOON + number * 86_400,
        started_at=NOON + number * 86_400,
        input_tokens=100,
        output_tokens=20,
        quota_tokens=120,
        cost_nanousd=1_000_000_001,
        price_version="p1",
    )


@pytest.fixture(scope="module")
def control(running: Any) -> Iterator[ControlDatabase]:
    """The books of the platform that runs, from beside it."""
    database = ControlDatabase(running.insula.home / "control.db")
    yield database
    database.close()


@pytest.fixture(scope="module")
def booked(running: Any, control: ControlDatabase) -> Path:
    """The home of a platform with a tenant ``shop`` that made four calls in September."""
    running.insula.data("tenant", "create", "shop", "--tier", "pro")
    SqlBooks(control).add([call(number, "shop") for number in range(4)])
    home: Path = running.insula.home
    return home


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it wrote."""

    code: int
    stdout: str
    stderr: str


class Shop:
    """Runs command lines inside this process: a new one for each takes a second."""

    def __init__(self, home: Path, captured: pytest.CaptureFixture[str]) -> None:
        self._home = home
        self._captured = captured

    def __call__(self, *words: str) -> Said:
        code = run(["--home", str(self._home), *words])
        return Said(code, *self._captured.readouterr())

    def data(self, *words: str, code: int = 0) -> Any:
        """Return the JSON that a command prints, after checking how it ended."""
        said = self(*words, "--json")
        assert said.code == code, said.stderr
        return json.loads(said.stdout)


@pytest.fixture
def shop(booked: Path, capsys: pytest.CaptureFixture[str]) -> Shop:
    return Shop(booked, capsys)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_an_invoice_is_exact_in_every_form(shop: Shop) -> None:
    told = shop.data("invoice", "shop", "--month", "2026-09")
    assert (told["total_nanousd"], told["total_usd"]) == (4_000_000_004, "4.000000004")
    assert not told["preliminary"]
    lines = rows(shop("invoice", "shop", "--month", "2026-09", "--csv").stdout)
    assert sum(Decimal(line["cost_usd"]) for line in lines) == Decimal("4.000000004")
    plain = shop("invoice", "shop", "--month", "2026-09").stdout.splitlines()
    assert plain[-1].split("\t")[0] == "total" and plain[-1].endswith("$4.000000004")
    assert "preliminary" in shop("invoice", "shop").stderr


def test_a_shared_cost_is_on_the_invoice(shop: Shop) -> None:
    shop.data("cost", "add", "idle-gpu", "--usd", "3.5", "--month", "2026-09")
    told = shop.data("invoice", "shop", "--month", "2026-09")
    [part] = told["shared_lines"]
    assert part["cost_usd"] == "3.5" and told["total_usd"] == "7.500000004"
    lines = rows(shop("invoice", "shop", "--month", "2026-09", "--csv").stdout)
    assert [line["name"] for line in lines if line["kind"] == "shared"] == ["idle-gpu"]
    assert "idle-gpu" in shop("cost", "list", "--month", "2026-09").stdout
    shop.data("cost", "remove", "idle-gpu", "--month", "2026-09")
    assert shop.data("cost", "list", "--month", "2026-09")["items"] == []


def test_usage_by_month_and_by_hour(shop: Shop) -> None:
    by_month = shop.data("usage", "shop", "--by", "month")["rows"]
    assert [(row["period"], row["app"], row["calls"]) for row in by_month] == [
        ("2026-09", None, 2),
        ("2026-09", "shop", 2),
    ]
    by_hour = shop.data("usage", "shop", "--by", "hour", "--until", "2026-09-01")["rows"]
    assert [row["period"] for row in by_hour] == ["2026-09-01T12"]
    table = rows(shop("usage", "shop", "--csv").stdout)
    assert sum(int(row["cost_nanousd"]) for row in table) == 4_000_000_004


def test_focus_as_csv_and_json(shop: Shop) -> None:
    where = ("usage", "shop", "--month", "2026-09", "--format")
    table = rows(shop(*where, "focus-csv").stdout)
    assert sum(Decimal(row["BilledCost"]) for row in table) == Decimal("4.000000004")
    assert table[0]["ChargePeriodStart"] == "2026-09-01T00:00:00Z" and table[0]["SubAccountId"] == "shop"
    told = json.loads(shop(*where, "focus-json").stdout)
    assert [row["BilledCost"] for row in told] == [row["BilledCost"] for row in table]
    assert shop("usage", "shop", "--since", "2026-09-01", "--format", "focus-csv").code == 2


def test_a_tampered_book_ends_the_check_with_3(shop: Shop, control: ControlDatabase) -> None:
    assert shop.data("ledger", "check", "shop") == {
        "calls": 4,
        "mismatches": 0,
        "unverified": 0,
        "details": [],
    }
    with control.begin() as connection:
        connection.exec_driver_sql("UPDATE usage_events SET quota_tokens = 121 WHERE event_id = 'shop-0'")
    told = shop.data("ledger", "check", "shop", code=3)
    assert {one["account"] for one in told["details"]} == {"limits", "hour", "day", "invoice"}
    assert shop("ledger", "check").code == 3
    with control.begin() as connection:
        connection.exec_driver_sql("UPDATE usage_events SET quota_tokens = 120 WHERE event_id = 'shop-0'")
    assert shop.data("ledger", "check")["mismatches"] == 0
