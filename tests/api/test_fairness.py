"""Weights, capacities and the figures of fairness over the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest


@pytest.fixture(scope="module")
def tenant(operator: httpx2.Client) -> str:
    assert operator.post("/tenants", json={"id": "weighty", "tier": "pro"}).status_code == 201
    return "weighty"


@pytest.fixture(scope="module")
def endpoint(operator: httpx2.Client) -> Iterator[str]:
    body = {"name": "bounded", "base_url": "http://127.0.0.1:9/v1", "models": ["bounded-model"]}
    assert operator.post("/endpoints", json=body).status_code == 201
    yield "bounded"
    operator.delete("/endpoints/bounded")


def test_the_tier_decides_the_weight_until_one_is_set(operator: httpx2.Client, tenant: str) -> None:
    assert operator.get(f"/tenants/{tenant}").json()["weight"] == 4
    assert operator.patch(f"/tenants/{tenant}", json={"tier": "enterprise"}).json()["weight"] == 8
    for given, shown in ((2, 2), ("1/2", 0.5), ("1.5", 1.5), (0.25, 0.25), ("1/1000", 0.001), (1000, 1000)):
        changed = operator.patch(f"/tenants/{tenant}", json={"weight": given})
        assert changed.status_code == 200
        assert changed.json()["weight"] == operator.get(f"/tenants/{tenant}").json()["weight"] == shown
    assert operator.patch(f"/tenants/{tenant}", json={"tier": "free"}).json()["weight"] == 1000


@pytest.mark.parametrize(
    "wrong", [0, -1, 1001, "1/1001", "1/0", "nan", "inf", "two", "", "1e9", 0.0001, "1.0001", True]
)
def test_a_weight_that_is_none_is_refused(operator: httpx2.Client, tenant: str, wrong: Any) -> None:
    before = operator.get(f"/tenants/{tenant}").json()
    refused = operator.patch(f"/tenants/{tenant}", json={"tier": "pro", "weight": wrong})
    assert refused.status_code in (400, 422)
    assert refused.json()["field"].startswith("weight") and refused.json()["hint"]
    assert operator.get(f"/tenants/{tenant}").json() == before, "nothing of it is done"


def test_a_change_of_weight_is_in_the_audit(operator: httpx2.Client, tenant: str) -> None:
    operator.patch(f"/tenants/{tenant}", json={"weight": "3/2"})
    records = operator.get(f"/audit/streams/{tenant}", params={"limit": 200}).json()["items"]
    weighed = [record["details"] for record in records if record["action"] == "tenant.weighed"]
    assert weighed[-1]["weight"] == "3/2" and "before" in weighed[-1]


def test_a_capacity_is_set_kept_and_lifted(operator: httpx2.Client, endpoint: str) -> None:
    nothing = {"slots": None, "prefill_tps": None, "decode_tps": None, "kv_tokens": None}
    assert _capacity(operator, endpoint) == nothing
    changed = operator.patch(f"/endpoints/{endpoint}", json={"slots": 8, "decode_tps": 700})
    assert changed.json()["capacity"] == {**nothing, "slots": 8, "decode_tps": 700}
    operator.patch(f"/endpoints/{endpoint}", json={"kv_tokens": 60_000, "decode_tps": None})
    assert _capacity(operator, endpoint) == {**nothing, "slots": 8, "kv_tokens": 60_000}


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"slots": -1}, {"kv_tokens": 10**10}, {"decode_tps": 1.5}])
def test_a_capacity_that_is_none_is_refused(
    operator: httpx2.Client, endpoint: str, wrong: dict[str, Any]
) -> None:
    refused = operator.patch(f"/endpoints/{endpoint}", json=wrong)
    assert refused.status_code in (400, 422)
    assert refused.json()["field"] == next(iter(wrong)) and refused.json()["hint"]


def test_what_is_not_there_cannot_be_bounded(operator: httpx2.Client) -> None:
    assert operator.patch("/endpoints/nowhere", json={"slots": 1}).status_code == 404


def test_the_figures_are_the_operators(operator: httpx2.Client) -> None:
    shown = operator.get("/fairness").json()
    sandboxes = shown["queues"][-1]
    assert sandboxes["kind"] == "sandboxes" and sandboxes["gap"] <= 1 and 0 < sandboxes["jain"] <= 1
    assert shown["donated_tokens"] >= 0 and shown["fail_open_seconds"] >= 0


def _capacity(operator: httpx2.Client, endpoint: str) -> dict[str, Any]:
    listed = operator.get("/endpoints", params={"limit": 200}).json()["items"]
    return next(item for item in listed if item["name"] == endpoint)["capacity"]
