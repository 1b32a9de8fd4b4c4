"""The nouns of the control plane, through HTTP, on the real rooms."""

import io
import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from insula.bundles import pack

Problem = Callable[[httpx2.Response, int, str], dict[str, Any]]
AGENT = {"agent.toml": 'name = "{name}"\nentrypoint = "python main.py"\n', "main.py": "print('hello')\n"}


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., bytes]:
    """Return a packed agent."""

    def make(name: str = "hello", main: str = "print('hello')\n") -> bytes:
        where = tmp_path / name
        where.mkdir(exist_ok=True)
        (where / "agent.toml").write_text(f'name = "{name}"\nentrypoint = "python main.py"\n')
        (where / "main.py").write_text(main)
        return pack(where)

    return make


def deploy(client: httpx2.Client, tenant: str, content: bytes) -> httpx2.Response:
    return client.post(
        f"/tenants/{tenant}/agents", content=content, headers={"content-type": "application/gzip"}
    )


def test_a_tenant_from_creation_to_receipt(operator: httpx2.Client, problem: Problem, tenant: str) -> None:
    found = operator.get(f"/tenants/{tenant}").json()
    assert (found["tier"], found["state"], found["profile"]["compute"]) == ("pro", "active", "bubblewrap")
    changed = operator.patch(f"/tenants/{tenant}", json={"overrides": {"memory_mib": 4096}}).json()
    assert changed["profile"]["sandbox"]["memory_mib"] == 4096
    changed = operator.patch(
        f"/tenants/{tenant}", json={"tier": "free", "overrides": {"memory_mib": None}}
    ).json()
    assert (changed["tier"], changed["overrides"]) == ("free", {})
    key = operator.post(f"/tenants/{tenant}/keys", json={}).json()
    receipt = operator.delete(f"/tenants/{tenant}").json()
    assert receipt["tenant"] == tenant
    assert receipt["key_destroyed"]
    assert receipt["credentials_revoked"] == 1
    problem(operator.get(f"/tenants/{tenant}"), 404, "not_found")
    problem(operator.delete(f"/tenants/{tenant}/keys/{key['id']}"), 404, "not_found")
    problem(operator.post("/tenants", json={"id": tenant}), 409, "already_exists")


def test_a_plan_changes_nothing(operator: httpx2.Client, tenant: str) -> None:
    planned = operator.get(f"/tenants/{tenant}/tier-plan", params={"tier": "enterprise"}).json()
    assert {"aspect": "compute", "before": "bubblewrap", "after": "gvisor"}.items() <= planned["moves"][
        0
    ].items()
    assert operator.get(f"/tenants/{tenant}").json()["tier"] == "pro"


def test_pages_hold_every_tenant_once(operator: httpx2.Client) -> None:
    for number in range(5):
        operator.post("/tenants", json={"id": f"page-{number}"})
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = operator.get("/tenants", params=params).json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert {f"page-{number}" for number in range(5)} <= set(seen)


def test_an_agent_is_deployed_once_per_content(
    operator: httpx2.Client, tenant: str, bundle: Callable[..., bytes]
) -> None:
    first = deploy(operator, tenant, bundle())
    assert first.status_code == 201, first.text
    again = deploy(operator, tenant, bundle()).json()
    other = deploy(operator, tenant, bundle(main="print('other')\n")).json()
    assert first.json()["bundle"] == again["bundle"] != other["bundle"]
    assert first.json()["manifest"]["entrypoint"] == ["python", "main.py"]
    [listed] = operator.get(f"/tenants/{tenant}/agents").json()["items"]
    assert listed["bundle"] == other["bundle"]
    assert operator.get(f"/tenants/{tenant}/agents/hello").json() == listed


def archive(*members: tuple[str, bytes, str]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as tar:
        for name, data, kind in members:
            info = tarfile.TarInfo(name)
            info.type = {"file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "pipe": tarfile.FIFOTYPE}[kind]
            info.linkname = "/etc/passwd" if kind == "link" else ""
            info.size = len(data) if kind == "file" else 0
            tar.addfile(info, io.BytesIO(data))
    return whole.getvalue()


TOML = ("agent.toml", b'name = "x"\nentrypoint = "python main.py"\n', "file")
MAIN = ("main.py", b"", "file")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        archive(MAIN),
        archive(TOML),
        archive(TOML, MAIN, ("l", b"", "link")),
        archive(TOML, MAIN, ("p", b"", "pipe")),
        archive(TOML, MAIN, ("../evil", b"x", "file")),
        archive(TOML, MAIN, ("/etc/evil", b"x", "file")),
        archive(("agent.toml", b"name = ", "file"), MAIN),
        archive(TOML, MAIN, ("zeros", b"\0" * 40_000_000, "file")),
    ],
    ids=["empty", "junk", "no-toml", "no-script", "link", "pipe", "up", "absolute", "bad-toml", "bomb"],
)
def test_a_bad_bundle_is_refused_and_nothing_is_deployed(
    operator: httpx2.Client, tenant: str, content: bytes
) -> None:
    response = deploy(operator, tenant, content)
    assert response.status_code in {413, 422}
    assert response.json()["hint"]
    assert operator.get(f"/tenants/{tenant}/agents").json()["items"] == []


def test_a_runtime_that_is_not_built_is_named(operator: httpx2.Client, tenant: str, problem: Problem) -> None:
    toml = b'name = "x"\nentrypoint = "python main.py"\nruntime = "absent"\n'
    found = problem(deploy(operator, tenant, archive(("agent.toml", toml, "file"), MAIN)), 404, "not_found")
    assert "insula runtime build" in found["hint"]


def test_limits_start_as_the_tiers_and_change_by_field(
    operator: httpx2.Client, tenant: str, problem: Problem
) -> None:
    before = operator.get(f"/tenants/{tenant}/limits").json()
    assert before["rpm"]
    after = operator.patch(f"/tenants/{tenant}/limits", json={"rpm": 7, "in_flight": None}).json()
    assert (after["rpm"], after["in_flight"], after["tpm"]) == (7, None, before["tpm"])
    assert (
        problem(operator.patch(f"/tenants/{tenant}/limits", json={"rpm": 0}), 422, "invalid_request")["field"]
        == "rpm"
    )
    assert operator.get(f"/tenants/{tenant}/limits").json() == after
    assert operator.get("/platform/limits").json()["scope"] == "platform"


def test_an_endpoint_its_model_and_a_grant(operator: httpx2.Client, tenant: str, problem: Problem) -> None:
    body = {
        "name": f"e-{tenant}",
        "base_url": "http://127.0.0.1:9/v1",
        "models": [f"org/{tenant}:m"],
        "key": "sk-sup3rsecret",
    }
    made = operator.post("/endpoints", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["has_key"]
    assert "sup3rsecret" not in made.text + operator.get("/endpoints").text
    problem(operator.post("/endpoints", json=body), 409, "already_exists")
    grant = f"/tenants/{tenant}/entitlements/org%2F{tenant}:m"
    assert operator.put(grant, json={"max_output": 50}).json()["max_output"] == 50
    [held] = operator.get(f"/tenants/{tenant}/entitlements").json()["items"]
    assert held["model"] == f"org/{tenant}:m"
    assert operator.delete(grant).json() == {"removed": f"org/{tenant}:m"}
    problem(operator.delete(grant), 404, "not_found")
    assert operator.delete(f"/endpoints/e-{tenant}").json() == {"removed": f"e-{tenant}"}


def test_a_key_is_shown_once(operator: httpx2.Client, tenant: str) -> None:
    made = operator.post(f"/tenants/{tenant}/keys", json={"name": "app", "expires_in_s": 3600}).json()
    assert made["key"].startswith("ins_vk_")
    listed = operator.get(f"/tenants/{tenant}/keys")
    assert [item["id"] for item in listed.json()["items"]] == [made["id"]]
    assert made["key"] not in listed.text
    assert operator.delete(f"/tenants/{tenant}/keys/{made['id']}").json() == {"removed": made["id"]}
    assert operator.get(f"/tenants/{tenant}/keys").json()["items"] == []


def test_usage_of_a_quiet_tenant_is_zero(operator: httpx2.Client, tenant: str, problem: Problem) -> None:
    report = operator.get(f"/tenants/{tenant}/usage", params={"since": "2026-01-01"}).json()
    assert report["rows"] == []
    assert report["totals"]["cost_usd"] == "0"
    bad = operator.get(f"/tenants/{tenant}/usage", params={"since": "yesterday"})
    assert problem(bad, 422, "invalid_request")["field"] == "since"


def test_what_was_done_is_in_the_audit_and_the_chains_hold(operator: httpx2.Client, tenant: str) -> None:
    operator.patch(f"/tenants/{tenant}/limits", json={"rpm": 9})
    page = operator.get(f"/audit/streams/{tenant}", params={"limit": 1}).json()
    assert [record["action"] for record in page["items"]] == ["tenant.created"]
    rest = operator.get(f"/audit/streams/{tenant}", params={"cursor": page["next"]}).json()
    assert "limits.set" in [record["action"] for record in rest["items"]]
    assert all(record["actor"].startswith("operator/") for record in rest["items"])
    report = operator.get("/audit/verify").json()
    assert report["ok"]
    assert {"platform", tenant} <= {stream["stream"] for stream in report["streams"]}


def test_a_repeated_post_with_its_key_does_nothing_new(
    operator: httpx2.Client, tenant: str, problem: Problem
) -> None:
    headers = {"idempotency-key": f"again-{tenant}"}
    path = f"/tenants/{tenant}/keys"
    first = operator.post(path, json={"name": "a"}, headers=headers)
    again = operator.post(path, json={"name": "a"}, headers=headers)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len(operator.get(path).json()["items"]) == 1
    found = problem(operator.post(path, json={"name": "b"}, headers=headers), 409, "conflict")
    assert found["field"] == "Idempotency-Key"


def test_a_remembered_answer_is_not_for_others_nor_for_a_revoked_token(
    served: Any, operator: httpx2.Client, tenant: str, problem: Problem
) -> None:
    token = operator.post("/tokens", json={"name": "x"}).json()
    headers = {"idempotency-key": "shared"}
    path = f"/tenants/{tenant}/keys"
    with served.client(token["token"]) as client:
        mine = client.post(path, json={}, headers=headers).json()
        assert operator.post(path, json={}, headers=headers).json()["id"] != mine["id"]
        operator.delete(f"/tokens/{token['id']}")
        problem(client.post(path, json={}, headers=headers), 401, "unauthenticated")


def test_a_failure_is_not_remembered(operator: httpx2.Client, tenant: str) -> None:
    headers = {"idempotency-key": f"late-{tenant}"}
    body = {"agent": "later"}
    assert operator.post(f"/tenants/{tenant}/keys", json=body, headers=headers).status_code == 404
    toml = b'name = "later"\nentrypoint = "python main.py"\n'
    assert deploy(operator, tenant, archive(("agent.toml", toml, "file"), MAIN)).status_code == 201
    assert operator.post(f"/tenants/{tenant}/keys", json=body, headers=headers).status_code == 201


def test_the_access_log_says_who_and_what_but_no_secret(served: Any, operator: httpx2.Client) -> None:
    mark = served.log.stat().st_size
    answer = operator.get("/tenants/none", params={"secret": "hush"}, headers={"x-hush": "hush"})
    mine = answer.headers["x-request-id"]
    logged, deadline = "", time.monotonic() + 10
    while f'"{mine}"' not in logged:  # the line follows the answer
        assert time.monotonic() < deadline
        logged = served.log.read_text()[mark:]
    [line] = [entry for entry in map(json.loads, logged.splitlines()) if entry.get("request_id") == mine]
    assert line["event"] == "request"
    assert {"method": "GET", "status": 404}.items() <= line.items()
    assert line["who"].startswith("operator/opr_")
    assert "hush" not in logged
    assert served.operator not in logged


def test_machines_that_watch_need_no_token(served: Any) -> None:
    with httpx2.Client(base_url=served.url, trust_env=False) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").status_code == 200
        assert "insula_gateway_calls" in client.get("/metrics").text


def test_the_doctor_and_the_platform(operator: httpx2.Client) -> None:
    report = operator.get("/doctor").json()
    assert [backend["name"] for backend in report["backends"]] == [
        "microvm",
        "gvisor",
        "bubblewrap",
        "namespace",
        "none",
    ]
    assert report["trust"] == "internal"
    strangers = operator.get("/doctor", params={"trust": "saas"}).json()
    assert not strangers["ok"]
    assert all(tier["fix"] for tier in strangers["tiers"])
    assert operator.get("/platform").json()["trust"] == "internal"
