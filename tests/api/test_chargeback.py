"""Invoices, shared costs and the check of the books, over the wire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest


def this_month() -> str:
    return datetime.now(UTC).strftime("%Y-%m")


def test_the_month_that_runs_is_preliminary(operator: httpx2.Client, tenant: str) -> None:
    told = operator.get(f"/tenants/{tenant}/invoice").json()
    assert told["preliminary"] is True and told["total_usd"] == "0" and told["lines"] == []
    past = operator.get(f"/tenants/{tenant}/invoice", params={"month": "2026-01"}).json()
    assert past["preliminary"] is False and past["month"] == "2026-01"


@pytest.mark.parametrize("month", ["2999-01", "2026-1", "now", "2026-13"])
@pytest.mark.parametrize("place", ["invoice", "usage/focus"])
def test_a_month_that_is_none_or_to_come_is_refused(
    operator: httpx2.Client, tenant: str, month: str, place: str
) -> None:
    answer = operator.get(f"/tenants/{tenant}/{place}", params={"month": month})
    assert answer.status_code == 422 and answer.json()["field"] == "month"


def test_a_shared_cost_comes_shows_and_goes(operator: httpx2.Client) -> None:
    body = {"name": "idle-gpu", "month": this_month(), "usd": "12.000000001", "by": "usage"}
    made = operator.post("/costs", json=body)
    assert made.status_code == 201 and made.json()["nanousd"] == 12_000_000_001
    assert operator.post("/costs", json=body).status_code == 409
    assert [one["name"] for one in operator.get("/costs").json()["items"]] == ["idle-gpu"]
    assert operator.delete(f"/costs/{this_month()}/idle-gpu").json() == {"removed": "idle-gpu"}
    assert operator.delete(f"/costs/{this_month()}/idle-gpu").status_code == 404


@pytest.mark.parametrize(
    "change",
    [{"usd": "a"}, {"usd": "-1"}, {"usd": "0.0000000001"}, {"name": "No"}, {"by": "luck"}, {"month": "x"}],
)
def test_a_bad_shared_cost_names_its_field(operator: httpx2.Client, change: dict[str, Any]) -> None:
    body = {"name": "fee", "month": this_month(), "usd": "1", "by": "cost", **change}
    answer = operator.post("/costs", json=body)
    assert answer.status_code == 422 and answer.json()["field"] == next(iter(change))


def test_the_books_are_checked(operator: httpx2.Client, tenant: str) -> None:
    told = operator.get("/ledger/check", params={"tenant": tenant}).json()
    assert told == {"calls": 0, "mismatches": 0, "unverified": 0, "details": []}
    assert operator.get("/ledger/check").json()["mismatches"] == 0
    assert operator.get("/ledger/check", params={"tenant": "nobody"}).status_code == 404


def test_focus_tells_its_version_and_columns(operator: httpx2.Client, tenant: str) -> None:
    told = operator.get(f"/tenants/{tenant}/usage/focus").json()
    assert told["focus_version"] == "1.2" and "BilledCost" in told["columns"] and told["rows"] == []


def test_usage_goes_by_hour_day_or_month(operator: httpx2.Client, tenant: str) -> None:
    for by in ("hour", "day", "month"):
        assert operator.get(f"/tenants/{tenant}/usage", params={"by": by}).json()["by"] == by
    assert operator.get(f"/tenants/{tenant}/usage", params={"by": "year"}).status_code == 422


def test_a_tenant_sees_its_invoice_and_nothing_of_others(
    tenant: str, as_tenant: Callable[..., httpx2.Client]
) -> None:
    with as_tenant(tenant, ["usage:read"]) as client:
        assert client.get(f"/tenants/{tenant}/invoice").status_code == 200
        assert client.get("/tenants/other/invoice").status_code == 404
        for refused in ("/costs", "/ledger/check"):
            assert client.get(refused).status_code == 403
        body = {"name": "fee", "month": this_month(), "usd": "1", "by": "cost"}
        assert client.post("/costs", json=body).status_code == 403


def test_re_rating_says_what_it_changed(
    operator: httpx2.Client, tenant: str, as_tenant: Callable[..., httpx2.Client]
) -> None:
    days = {"since": "2026-09-01", "until": "2026-09-30"}
    told = operator.post(f"/tenants/{tenant}/usage/rerate", json=days).json()
    assert told == {"calls": 0, "corrected": 0, "delta_nanousd": 0, "delta_usd": "0"}
    swapped = {"since": "2026-09-30", "until": "2026-09-01"}
    assert operator.post(f"/tenants/{tenant}/usage/rerate", json=swapped).json()["field"] == "since"
    with as_tenant(tenant) as client:
        assert client.post(f"/tenants/{tenant}/usage/rerate", json=days).status_code == 403
