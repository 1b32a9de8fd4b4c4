"""How fast the books are read: what budgets have spent, reports, invoices, and the check of every account.

python -m benchmarks.books [--json] [--calls N]

A made-up month: 50 tenants with 3 apps, 2 agents and 3 models each, calls scattered over all of its hours, so
that nearly each begins a total of its own: the worst case for all of these. Wall time, best of three.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.governor import figure
from insula.governance.burndown import load
from insula.storage import ControlDatabase
from insula.usage import Burning, Month, Period, UsageEvent
from insula.usage.adapters.checking import SqlAccounts
from insula.usage.adapters.sql import SqlBooks
from insula.usage.invoice import draw_up
from insula.usage.reconciliation import Checked

MONTH = Month.parse("2026-09")
TENANTS, BATCH = 50, 500


def call(number: int, draw: random.Random) -> UsageEvent:
    read, produced, cost = draw.randrange(1, 10_000), draw.randrange(2_000), draw.randrange(10**9)
    moment = draw.uniform(MONTH.begin, MONTH.next.begin - 1)
    return UsageEvent(
        event_id=f"evt_{number:026d}",
        tenant_id=f"tenant{draw.randrange(TENANTS)}",
        request_id=f"req_{number:026d}",
        provider="openai",
        model_id=f"model{draw.randrange(3)}",
        app_id=f"app{draw.randrange(3)}",
        agent_id=f"agent{draw.randrange(2)}",
        timestamp=moment,
        started_at=moment,
        input_tokens=read,
        output_tokens=produced,
        quota_tokens=read + produced,
        cost_nanousd=cost,
        price_version="list",
        fair_cost=cost,
        fair_charged=cost,
    )


def best_s(action: Callable[[], object]) -> float:
    """Return the least seconds of three goes."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        action()
        took.append(time.perf_counter() - start)
    return min(took)


def check(accounts: SqlAccounts, rates: Any) -> Checked:
    checked = Checked()
    for tenant, month in accounts.slices(None):
        accounts.check(tenant, month, rates, checked)
    assert checked.mismatches == 0
    return checked


def reading(directory: Path, calls: int) -> list[dict[str, Any]]:
    control = ControlDatabase(directory / "control.db")
    books, accounts, rates = SqlBooks(control), SqlAccounts(control), Burning(load()).rates
    draw = random.Random(1)
    start = time.process_time()
    made = 0.0
    for done in range(0, calls, BATCH):
        begun = time.process_time()
        batch = [call(number, draw) for number in range(done, min(done + BATCH, calls))]
        made += time.process_time() - begun
        books.add(batch)
    booked = (time.process_time() - start - made) / calls * 1e6
    edge = MONTH.begin + 20 * 86_400 + 1_234.5
    first, last = MONTH.first.isoformat(), MONTH.last.isoformat()

    def invoice() -> None:
        draw_up("tenant1", MONTH, books.periods("tenant1", Period.DAY, first, last), (), {}, now=0)

    goes: dict[str, Callable[[], object]] = {
        "spent by all since the month began, to the event": lambda: books.spent(MONTH.begin, edge),
        "a tenant's month by the hour": lambda: books.periods("tenant1", Period.HOUR, first, last),
        "a tenant's month by the month": lambda: books.periods("tenant1", Period.MONTH, first, last),
        "a tenant's invoice": invoice,
        "a tenant's month for FOCUS": lambda: books.groups("tenant1", MONTH),
    }
    checked = best_s(lambda: check(accounts, rates))
    figures = [
        figure("calls in the books", calls, ""),
        figure("booked, each call with new totals, CPU a call", booked, "us"),
        *(figure(name, best_s(go) * 1e3, "ms") for name, go in goes.items()),
        figure("check of every account, a call", checked / calls * 1e6, "us"),
    ]
    control.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--calls", type=int, default=100_000, metavar="N")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = reading(Path(directory), given.calls)
    if given.json:
        print(json.dumps({"figures": figures}))
    for one in () if given.json else figures:
        print(f"{one['name']:<52} {one['value']:>12,} {one['unit']:<4}")
    sys.exit(0)


if __name__ == "__main__":
    main()
