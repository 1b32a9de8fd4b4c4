"""Who may do what, and what a tenant's token can see."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from insula.api.app import openapi
from insula.identity import SCOPES

Problem = Callable[[httpx2.Response, int, str], dict[str, Any]]
AsTenant = Callable[..., httpx2.Client]
PATHS = openapi()["paths"]
RUN = "run_" + "0" * 26
FILL = {
    "agent": "a",
    "app": "a",
    "month": "2026-11",
    "run": RUN,
    "name": "n",
    "model": "m",
    "id": "key_" + "0" * 26,
}


def operations() -> list[tuple[str, str]]:
    return [(method.upper(), path) for path, methods in PATHS.items() for method in methods]


@pytest.mark.parametrize(("method", "path"), operations())
def test_every_route_wants_a_credential(served: Any, problem: Problem, method: str, path: str) -> None:
    with served.client("") as client:
        response = client.request(method, filled(path, "acme"), json={"id": "x"})
    problem(response, 401, "unauthenticated") if response.status_code != 422 else None
    assert response.status_code in {401, 422}
    assert "security" in PATHS[path][method.lower()]


def filled(path: str, tenant: str) -> str:
    short = path.removeprefix("/api/v1").replace("{stream}", tenant)
    return short.format(tenant=tenant, **FILL) + ("?tier=pro" if short.endswith("tier-plan") else "")


OF_A_TENANT = [(method, path) for method, path in operations() if "{tenant}" in path or "{stream}" in path]
BODIES = {
    "keys": {"name": "n"},
    "tokens": {"name": "n"},
    "limits": {"rpm": 1},
    "runs": {"input": "x"},
    "m": {"max_output": 1},
}


@pytest.fixture(scope="module")
def near(served: Any, operator: httpx2.Client) -> Iterator[httpx2.Client]:
    """A client with all the rights that a tenant can have, beside another tenant called `other`."""
    for name in ("near", "other"):
        operator.post("/tenants", json={"id": name})
    token = operator.post("/tenants/near/tokens", json={"name": "t"}).json()["token"]
    with served.client(token) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), OF_A_TENANT)
def test_a_tenants_token_never_meets_another_tenant(near: httpx2.Client, method: str, path: str) -> None:
    where = filled(path, "other")
    body = BODIES.get(where.rpartition("/")[2], {})
    theirs = near.request(method, where, json=body)
    nobodys = near.request(method, filled(path, "nobody"), json=body)
    assert theirs.status_code in {403, 404, 422}
    told = {name: value for name, value in theirs.json().items() if name != "request_id"}
    same = {name: value for name, value in nobodys.json().items() if name != "request_id"}
    assert str(told).replace("other", "X") == str(same).replace("nobody", "X")


def test_a_tenant_sees_itself_alone(as_tenant: AsTenant, tenant: str) -> None:
    with as_tenant(tenant) as client:
        assert [item["id"] for item in client.get("/tenants").json()["items"]] == [tenant]
        assert client.get(f"/tenants/{tenant}").json()["tier"] == "pro"
        report = client.get("/audit/verify").json()
    assert report["ok"]
    assert [stream["stream"] for stream in report["streams"]] == [tenant]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/tenants"),
        ("DELETE", "/tenants/{0}"),
        ("PATCH", "/tenants/{0}/limits"),
        ("PUT", "/tenants/{0}/entitlements/m"),
        ("POST", "/tenants/{0}/tokens"),
        ("GET", "/endpoints"),
        ("GET", "/platform"),
        ("GET", "/platform/limits"),
        ("GET", "/tokens"),
    ],
)
def test_a_tenant_cannot_administer(
    as_tenant: AsTenant, tenant: str, problem: Problem, method: str, path: str
) -> None:
    with as_tenant(tenant) as client:
        found = problem(client.request(method, path.format(tenant), json={"id": "x"}), 403, "denied")
    assert found["details"]["rule"]


def test_a_token_does_only_what_its_scopes_say(as_tenant: AsTenant, tenant: str, problem: Problem) -> None:
    with as_tenant(tenant, ["usage:read"]) as client:
        assert client.get(f"/tenants/{tenant}/usage").status_code == 200
        found = problem(client.get(f"/tenants/{tenant}/agents"), 403, "denied")
    assert found["details"] == {"rule": "scope:agents:read"}


def test_an_operator_cannot_hand_out_a_right_that_it_lacks(served: Any, problem: Problem) -> None:
    with served.client() as client:
        weak = client.post("/tokens", json={"name": "weak", "scopes": ["operators:write"]}).json()["token"]
    with served.client(weak) as client:
        problem(client.post("/tokens", json={"scopes": ["tenants:write"]}), 403, "denied")
        made = client.post("/tokens", json={"name": "same"})
    assert made.json()["scopes"] == ["operators:write"]


def test_a_virtual_key_is_no_token(
    served: Any, operator: httpx2.Client, tenant: str, problem: Problem
) -> None:
    key = operator.post(f"/tenants/{tenant}/keys", json={"name": "k"}).json()["key"]
    with served.client(key) as client:
        assert problem(client.get(f"/tenants/{tenant}"), 403, "denied")["details"]["rule"] == "kind:key"


def test_a_revoked_token_is_refused_at_once(
    as_tenant: AsTenant, operator: httpx2.Client, tenant: str, problem: Problem
) -> None:
    with as_tenant(tenant) as client:
        assert client.get("/tenants").status_code == 200
        [token] = operator.get(f"/tenants/{tenant}/tokens").json()["items"]
        assert operator.delete(f"/tenants/{tenant}/tokens/{token['id']}").json() == {"removed": token["id"]}
        problem(client.get("/tenants"), 401, "unauthenticated")


def test_a_suspended_tenants_token_is_refused_until_it_is_resumed(
    as_tenant: AsTenant, operator: httpx2.Client, tenant: str, problem: Problem
) -> None:
    with as_tenant(tenant) as client:
        assert operator.post(f"/tenants/{tenant}/suspend").json()["state"] == "suspended"
        assert "suspended" in problem(client.get("/tenants"), 403, "denied")["detail"]
        assert operator.post(f"/tenants/{tenant}/resume").json()["state"] == "active"
        assert client.get("/tenants").status_code == 200


def test_every_scope_that_a_route_asks_for_is_in_the_table_and_every_one_is_asked_for() -> None:
    import re
    from pathlib import Path

    import insula.api.routes

    source = "".join(path.read_text() for path in Path(insula.api.routes.__path__[0]).glob("*.py"))
    asked = set(re.findall(r'needs\("([a-z:]+)"\)', source))
    assert asked == set(SCOPES) - {"models:use"}
