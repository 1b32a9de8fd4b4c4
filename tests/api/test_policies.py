"""Policies over the API: refused in full when saved, kept by level, audited, for operators to write."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

GOOD = 'request.max_tokens > 4000 ? deny("at most 4000") : allow()'
Problem = Callable[[httpx2.Response, int, str], dict[str, Any]]


@pytest.fixture(params=["tenant", "app", "platform"])
def where(request: pytest.FixtureRequest, tenant: str) -> str:
    """The path of a level's policies."""
    return {
        "tenant": f"/tenants/{tenant}/policies",
        "app": f"/tenants/{tenant}/apps/chat/policies",
        "platform": "/platform/policies",
    }[request.param]


def test_a_policy_is_put_shown_listed_and_deleted(
    operator: httpx2.Client, where: str, problem: Problem
) -> None:
    made = operator.put(f"{where}/main", json={"expression": GOOD, "mode": "shadow"})
    assert made.status_code == 200, made.text
    assert (made.json()["version"], made.json()["mode"], made.json()["broken"]) == (1, "shadow", "")
    assert operator.get(f"{where}/main").json() == made.json()
    assert made.json() in operator.get(where).json()["items"]
    assert operator.put(f"{where}/main", json={"expression": GOOD}).json()["version"] == 2
    assert operator.get(f"{where}/main/decisions").json() == {"items": [], "next": None}
    assert operator.delete(f"{where}/main").json() == {"removed": "main"}
    problem(operator.get(f"{where}/main"), 404, "not_found")
    problem(operator.delete(f"{where}/main"), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"expression": "request.modle == 'x'"}, "expression"),
        ({"expression": "1"}, "expression"),
        ({"expression": "true", "mode": "dry"}, "mode"),
        ({"expression": "request.tools.all(a, request.tools.all(b, a != b))"}, "expression"),
    ],
)
def test_a_bad_policy_is_refused_with_field_and_fix(
    operator: httpx2.Client, where: str, body: dict[str, str], field: str, problem: Problem
) -> None:
    told = problem(operator.put(f"{where}/main", json=body), 422, "invalid_request")
    assert told["field"] == field
    assert told["hint"]
    problem(operator.get(f"{where}/main"), 404, "not_found")


def test_a_problem_tells_line_and_column(operator: httpx2.Client, tenant: str, problem: Problem) -> None:
    body = {"expression": "true &&\n  request.modle == 'x'"}
    told = problem(operator.put(f"/tenants/{tenant}/policies/main", json=body), 422, "invalid_request")
    assert (told["details"]["line"], told["details"]["column"]) == (2, 3)


def test_names_follow_the_rule(operator: httpx2.Client, tenant: str, problem: Problem) -> None:
    told = problem(
        operator.put(f"/tenants/{tenant}/policies/Main", json={"expression": "true"}), 422, "invalid_request"
    )
    assert told["field"] == "name"
    problem(
        operator.put(f"/tenants/{tenant}/apps/-x/policies/a", json={"expression": "true"}),
        422,
        "invalid_request",
    )


def test_a_tenant_reads_its_own_policies_and_writes_none(
    operator: httpx2.Client, tenant: str, as_tenant: Callable[..., httpx2.Client], problem: Problem
) -> None:
    operator.put(f"/tenants/{tenant}/policies/main", json={"expression": GOOD})
    with as_tenant(tenant) as client:
        assert client.get(f"/tenants/{tenant}/policies/main").status_code == 200
        put = client.put(f"/tenants/{tenant}/policies/main", json={"expression": "true"})
        problem(put, 403, "denied")
        problem(client.get("/platform/policies"), 403, "denied")
        problem(client.get("/tenants/other/policies"), 404, "not_found")


def test_changes_are_audited_without_the_text(operator: httpx2.Client, tenant: str) -> None:
    operator.put(f"/tenants/{tenant}/policies/main", json={"expression": GOOD})
    operator.delete(f"/tenants/{tenant}/policies/main")
    records = operator.get(f"/audit/streams/{tenant}").json()["items"]
    told = {record["action"]: record for record in records}
    assert told["policy.set"]["details"]["policy"] == "main"
    assert GOOD not in str(records)
    assert told["policy.removed"]["target"] == tenant


def test_they_go_with_their_tenant(operator: httpx2.Client, tenant: str) -> None:
    operator.put(f"/tenants/{tenant}/policies/main", json={"expression": "false"})
    assert operator.delete(f"/tenants/{tenant}").status_code == 200
    metrics = httpx2.get(str(operator.base_url).replace("/api/v1/", "/metrics"), trust_env=False)
    assert f'scope="{tenant}"' not in metrics.text


def test_the_burndown_in_force_is_shown(operator: httpx2.Client, problem: Problem) -> None:
    query = {"provider": "aws", "endpoint": "bedrock-runtime", "model": "us.anthropic.claude-opus-4-8-v1:0"}
    found = operator.get("/platform/burndown", params={**query, "on": "2026-10-01"}).json()
    assert (found["output"], found["assumed"], found["confidence"]) == (15_000, False, "quoted")
    told = problem(operator.get("/platform/burndown", params={**query, "on": "soon"}), 422, "invalid_request")
    assert told["field"] == "on"
