"""A real platform without a model, in a process of its own: its threads must not touch what tests draw."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

INSULA = Path(sys.executable).with_name("insula")


@dataclass(frozen=True)
class Served:
    """A platform that answers at ``url``."""

    url: str
    operator: str
    log: Path

    def client(self, token: str | None = None) -> httpx2.Client:
        """Return a client with ``token``, the operator's when ``None``; "" for no token at all."""
        chosen = self.operator if token is None else token
        headers = {"authorization": f"Bearer {chosen}"} if chosen else {}
        return httpx2.Client(base_url=f"{self.url}/api/v1", headers=headers, trust_env=False, timeout=30)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    log = tmp_path_factory.mktemp("log") / "platform.jsonl"
    settings = {"INSULA_HOME": str(home), "INSULA_DRAIN_S": "0.5", "INSULA_LOG_JSON": "true"}
    ports = ("--port", "0", "--gateway-port", "0")
    command = [INSULA, "up", *ports, "--trust", "internal", "--json"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield Served(told["api"], told["token"], log)
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture(scope="session")
def operator(served: Served) -> Iterator[httpx2.Client]:
    with served.client() as client:
        yield client


_numbers = iter(range(10**9))


@pytest.fixture
def tenant(operator: httpx2.Client) -> str:
    """A fresh tenant on tier pro."""
    name = f"t{next(_numbers)}"
    assert operator.post("/tenants", json={"id": name, "tier": "pro"}).status_code == 201
    return name


@pytest.fixture
def as_tenant(served: Served, operator: httpx2.Client) -> Callable[..., httpx2.Client]:
    """Return a client with a new token of a tenant."""

    def make(tenant: str, scopes: list[str] | None = None) -> httpx2.Client:
        made = operator.post(f"/tenants/{tenant}/tokens", json={"name": "t", "scopes": scopes})
        assert made.status_code == 201, made.text
        return served.client(made.json()["token"])

    return make


@pytest.fixture(scope="session")
def problem() -> Callable[[httpx2.Response, int, str], dict[str, Any]]:
    """Return the check that a response is a problem document."""
    return _problem


def _problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem document of ``response``, after checking that it is one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["code"] == code
    assert found["status"] == status
    assert found["request_id"] == response.headers["x-request-id"]
    assert {"type", "title", "detail", "hint"} <= set(found)
    return found
