"""Runs through the control plane, in real sandboxes."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from insula.bundles import pack
from insula.cli.client import Event, parse_events

pytestmark = pytest.mark.root
Problem = Callable[[httpx2.Response, int, str], dict[str, Any]]
MAIN = """import sys, time
data = sys.stdin.buffer.read()
print("got", data.hex(), flush=True)
if data == b"sleep":
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def acme(operator: httpx2.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tenant with an agent that prints its input, or sleeps."""
    operator.post("/tenants", json={"id": "acme", "tier": "pro"})
    where: Path = tmp_path_factory.mktemp("agent")
    (where / "agent.toml").write_text('name = "hex"\nentrypoint = "python main.py"\n')
    (where / "main.py").write_text(MAIN)
    headers = {"content-type": "application/gzip"}
    made = operator.post("/tenants/acme/agents", content=pack(where), headers=headers)
    assert made.status_code == 201, made.text
    return "acme"


def start(client: httpx2.Client, body: Any = None, **headers: str) -> httpx2.Response:
    return client.post("/tenants/acme/agents/hex/runs", json=body, headers=headers)


def follow(client: httpx2.Client, run: str, after: int = 0) -> Iterator[Event]:
    headers = {"last-event-id": str(after)} if after else {}
    with client.stream("GET", f"/runs/{run}/events", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        yield from parse_events(response.iter_lines())


def finished(client: httpx2.Client, run: str) -> dict[str, Any]:
    list(follow(client, run))
    found: dict[str, Any] = client.get(f"/runs/{run}").json()
    return found


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (None, b""),
        ({}, b""),
        ({"input": "é"}, "é".encode()),
        ({"input_base64": base64.b64encode(b"\0\xff").decode()}, b"\0\xff"),
    ],
)
def test_the_input_arrives_to_the_byte(operator: httpx2.Client, acme: str, body: Any, data: bytes) -> None:
    accepted = start(operator, body)
    assert accepted.status_code == 202, accepted.text
    run = finished(operator, accepted.json()["run"])
    assert (run["tenant"], run["state"], run["output"]) == (acme, "succeeded", f"got {data.hex()}\n")
    assert run["workspace_destroyed"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": "x", "input_base64": "eA=="}, "input"),
        ({"input_base64": "?"}, "input_base64"),
        ({"input": 5}, "input"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": "soon"}, "timeout_s"),
        ({"imput": "x"}, "imput"),
    ],
)
def test_a_bad_request_starts_nothing(
    operator: httpx2.Client, acme: str, problem: Problem, body: Any, field: str
) -> None:
    before = operator.get(f"/tenants/{acme}/runs").json()["items"]
    assert problem(start(operator, body), 422, "invalid_request")["field"] == field
    assert operator.get(f"/tenants/{acme}/runs").json()["items"] == before


def test_half_a_surrogate_pair_is_no_input(operator: httpx2.Client, acme: str, problem: Problem) -> None:
    content = b'{"input": "\\ud800"}'
    path = f"/tenants/{acme}/agents/hex/runs"
    found = operator.post(path, content=content, headers={"content-type": "application/json"})
    assert problem(found, 422, "invalid_request")["field"] == "input"


def test_events_are_numbered_and_can_be_taken_up_anywhere(operator: httpx2.Client, acme: str) -> None:
    run = start(operator, {"input": "x"}).json()["run"]
    events = list(follow(operator, run))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert (events[-1].kind, events[-1].data["state"]) == ("state", "succeeded")
    assert list(follow(operator, run, after=events[2].seq)) == events[3:]
    journal = operator.get(f"/runs/{run}/journal", params={"limit": 2}).json()
    assert [item["seq"] for item in journal["items"]] == [1, 2]
    rest = operator.get(f"/runs/{run}/journal", params={"cursor": journal["next"]}).json()
    assert [item["seq"] for item in rest["items"]] == [event.seq for event in events[2:]]


def test_an_idempotency_key_starts_one_run_for_good(
    operator: httpx2.Client, acme: str, problem: Problem
) -> None:
    first = start(operator, {"input": "a"}, **{"idempotency-key": "k1"}).json()["run"]
    assert start(operator, {"input": "a"}, **{"idempotency-key": "k1"}).json()["run"] == first
    problem(start(operator, {"input": "b"}, **{"idempotency-key": "k1"}), 409, "conflict")
    assert finished(operator, first)["state"] == "succeeded"


def test_a_run_is_cancelled_and_stays_so(operator: httpx2.Client, acme: str) -> None:
    run = start(operator, {"input": "sleep"}).json()["run"]
    while "got" not in operator.get(f"/runs/{run}").json()["output"]:
        time.sleep(0.02)
    assert operator.post(f"/runs/{run}/cancel").json()["state"] == "cancelled"
    assert operator.post(f"/runs/{run}/cancel").json()["state"] == "cancelled"
    why = operator.get(f"/runs/{run}/why").json()
    assert why["state"] == "cancelled"
    assert why["lines"]


def test_a_run_past_its_time_is_stopped(operator: httpx2.Client, acme: str) -> None:
    run = start(operator, {"input": "sleep", "timeout_s": 0.5}).json()["run"]
    assert finished(operator, run)["state"] == "timed_out"


def test_runs_of_a_suspended_tenant_are_ended_and_new_ones_refused(
    operator: httpx2.Client, acme: str, problem: Problem
) -> None:
    run = start(operator, {"input": "sleep"}).json()["run"]
    operator.post(f"/tenants/{acme}/suspend")
    problem(start(operator), 403, "denied")
    operator.post(f"/tenants/{acme}/resume")
    assert finished(operator, run)["state"] in {"cancelled", "failed", "refused"}


def test_a_strangers_run_is_as_absent_as_one_that_never_was(
    operator: httpx2.Client, as_tenant: Callable[..., httpx2.Client], acme: str, tenant: str, problem: Problem
) -> None:
    run = start(operator).json()["run"]
    finished(operator, run)
    never = "run_" + "0" * 26
    with as_tenant(acme) as owner, as_tenant(tenant) as other:
        assert owner.get(f"/runs/{run}").status_code == 200
        for method, tail in [
            ("GET", ""),
            ("GET", "/events"),
            ("GET", "/journal"),
            ("GET", "/why"),
            ("GET", "/artifacts"),
            ("GET", "/artifacts/x"),
            ("POST", "/cancel"),
        ]:
            theirs = problem(other.request(method, f"/runs/{run}{tail}"), 404, "not_found")
            absent = problem(other.request(method, f"/runs/{never}{tail}"), 404, "not_found")
            assert theirs["detail"].replace(run, never) == absent["detail"]
            assert theirs["hint"] == absent["hint"]


def test_the_list_is_paged_newest_first(operator: httpx2.Client, acme: str) -> None:
    newest = start(operator).json()["run"]
    finished(operator, newest)
    first = operator.get(f"/tenants/{acme}/runs", params={"limit": 1}).json()
    assert [item["run"] for item in first["items"]] == [newest]
    second = operator.get(f"/tenants/{acme}/runs", params={"limit": 1, "cursor": first["next"]}).json()
    assert second["items"][0]["run"] < newest
    assert json.dumps(first) != json.dumps(second)
