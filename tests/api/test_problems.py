"""Every failure is a problem document that names what to do."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from insula.api import bounded
from insula.api.problem import from_validation

Problem = Callable[[httpx2.Response, int, str], dict[str, Any]]


@pytest.mark.parametrize("path", ["/nowhere", "/tenants/", "/tenants/acme/nothing", "/%00", "/runs"])
def test_an_unknown_route(operator: httpx2.Client, problem: Problem, path: str) -> None:
    assert "openapi.json" in problem(operator.get(path), 404, "not_found")["hint"]


def test_a_path_outside_the_api(served: Any, problem: Problem) -> None:
    problem(httpx2.get(f"{served.url}/", trust_env=False), 404, "not_found")


def test_a_method_that_the_path_does_not_take(operator: httpx2.Client, problem: Problem) -> None:
    response = operator.put("/tenants", json={})
    assert "Allow" in problem(response, 405, "method_not_allowed")["hint"]
    assert "GET" in response.headers["allow"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "id"),
        ({"id": 5}, "id"),
        ({"id": "Acme"}, "tenant"),
        ({"id": "a" * 49}, "tenant"),
        ({"id": "../x"}, "tenant"),
        ({"id": "x", "tier": "gold"}, "tier"),
        ({"id": "x", "teir": "pro"}, "teir"),
        ({"id": "x", "overrides": {"compute": "moon"}}, "compute"),
        ({"id": "x", "overrides": {"memory_mib": -1}}, "memory_mib"),
        ({"id": "x", "overrides": {"colour": "red"}}, "colour"),
        ({"id": "x", "tier": "enterprise", "overrides": {"compute": "none"}}, "compute"),
        ({"id": "platform"}, "tenant"),
        ([], "body"),
    ],
)
def test_a_bad_body_is_told_by_field(
    operator: httpx2.Client, problem: Problem, body: Any, field: str
) -> None:
    found = problem(operator.post("/tenants", json=body), 422, "invalid_request")
    assert found["field"] == field
    assert found["hint"]


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b'{"id": "a"', b"nope", b"[" * 100_000])
def test_a_body_that_is_not_json(operator: httpx2.Client, problem: Problem, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    found = operator.post("/tenants", content=content, headers=headers)
    assert problem(found, found.status_code, "invalid_request")["hint"]
    assert found.status_code in {400, 422}


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Basic eDp5", "Bearer nonsense", "Bearer ins_op_" + "a" * 43, "Bearer \xff"],
)
def test_a_bad_credential(served: Any, problem: Problem, header: str) -> None:
    headers = {"authorization": header.encode("latin-1")} if header else {}
    with served.client("") as client:
        response = client.get("/tenants", headers=headers)
    assert problem(response, 401, "unauthenticated")["hint"]
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path", ["/tenants/no", "/tenants/no/agents", "/tenants/no/usage", "/audit/streams/no"]
)
def test_what_is_not_there(operator: httpx2.Client, problem: Problem, path: str) -> None:
    assert problem(operator.get(path), 404, "not_found")["field"] == "tenant"


@pytest.mark.parametrize("path", ["/tenants/A_B", "/runs/run_1", "/tenants?limit=0", "/tenants?limit=x"])
def test_a_malformed_id_or_query(operator: httpx2.Client, problem: Problem, path: str) -> None:
    assert problem(operator.get(path), 422, "invalid_request")["field"]


def test_a_body_beyond_its_bound_declared(operator: httpx2.Client, problem: Problem) -> None:
    body = b" " * (bounded.JSON_BYTES_MAX + 1)
    found = problem(operator.post("/tenants", content=body), 413, "too_large")
    assert found["details"] == {"limit_bytes": bounded.JSON_BYTES_MAX}


def test_a_body_beyond_its_bound_undeclared(operator: httpx2.Client, problem: Problem) -> None:
    chunks = (b" " * 65536 for _ in range(bounded.JSON_BYTES_MAX // 65536 + 2))
    problem(operator.post("/tenants", content=chunks), 413, "too_large")


def test_a_request_id_is_kept_when_it_is_sane_and_replaced_when_not(operator: httpx2.Client) -> None:
    told = operator.get("/tenants", headers={"x-request-id": "my-request-1"})
    assert told.headers["x-request-id"] == "my-request-1"
    assert (
        operator.get("/tenants", headers={"x-request-id": "a b"}).headers["x-request-id"].startswith("req_")
    )


def test_answers_are_not_for_caches(operator: httpx2.Client) -> None:
    headers = operator.get("/tenants").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_several_validation_failures_are_told_together() -> None:
    errors = [
        {"loc": ("body", "id"), "msg": "Field required", "type": "missing"},
        {"loc": ("body", "tier"), "msg": "Input should be a valid string", "type": "string_type"},
    ]
    told = from_validation(errors)
    assert told.field == "id"
    assert "and 1 more" in told.message
    assert [problem["field"] for problem in told.details["problems"]] == ["id", "tier"]
