"""The layers around the routes, with an application that misbehaves inside them."""

import asyncio
import json
from typing import Any

import pytest

from insula.api.access import Access
from insula.api.bounded import JSON_BYTES_MAX, RUN_BYTES_MAX, BodyBound, bound_for
from insula.api.problem import allowed
from insula.kernel.clock import ManualClock
from insula.kernel.errors import IsolationBreach, RateLimited


def call(
    app: Any, *, path: str = "/x", body: bytes = b"", method: str = "GET"
) -> tuple[int, dict[bytes, bytes], Any]:
    """Return status, headers and decoded body of what ``app`` answers."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    asyncio.run(app(scope, receive, send))
    start, *rest = sent
    content = b"".join(message["body"] for message in rest)
    return start["status"], dict(start["headers"]), json.loads(content)


def raising(error: BaseException) -> Any:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise error

    return app


def test_a_defect_is_answered_without_its_details() -> None:
    status, headers, told = call(Access(raising(RuntimeError("the secret is 42")), ManualClock()))
    assert (status, told["code"]) == (500, "internal_error")
    assert "42" not in json.dumps(told)
    assert told["request_id"].encode() == headers[b"x-request-id"]


def test_a_breach_is_answered_and_still_not_swallowed() -> None:
    with pytest.raises(IsolationBreach):
        call(Access(raising(IsolationBreach("wall")), ManualClock()))


def test_a_wait_is_told_in_a_header() -> None:
    error = RateLimited("slow down", retry_after_s=1.2, level="tenant")
    status, headers, told = call(Access(raising(error), ManualClock()))
    assert (status, headers[b"retry-after"], told["retry_after_s"]) == (429, b"2", 1.2)
    assert told["details"] == {"level": "tenant"}


def test_a_body_is_counted_even_when_the_application_hides_the_failure() -> None:
    async def hides(_scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
        except Exception:
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

    status, _, told = call(Access(BodyBound(hides), ManualClock()), body=b" " * (JSON_BYTES_MAX + 1))
    assert (status, told["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "larger"),
    [
        ("POST", "/api/v1/tenants", False),
        ("POST", "/api/v1/tenants/a/agents/b/runs", True),
        ("POST", "/api/v1/tenants/a/agents", True),
        ("GET", "/api/v1/tenants/a/agents", False),
    ],
)
def test_only_bundles_and_inputs_may_be_large(method: str, path: str, larger: bool) -> None:
    assert (bound_for(method, path) >= RUN_BYTES_MAX) == larger


def test_allowed_methods_are_those_of_every_template_that_fits() -> None:
    paths: dict[str, dict[str, Any]] = {"/a/{x}": {"get": 1}, "/a/b": {"post": 1}, "/a/{x}/c": {"put": 1}}
    assert allowed(paths, "/a/b") == "GET, POST"
    assert allowed(paths, "/a/b/c") == "PUT"
    assert allowed(paths, "/z") == ""
