"""A real platform without a model, served over loopback from a loop of its own."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog

from insula.api.app import create_app
from insula.cli.serving import Guest, server_of
from insula.settings import load
from insula.wiring import Platform


@dataclass(frozen=True)
class Served:
    """A platform that answers at ``url``."""

    platform: Platform
    url: str
    operator: str

    def client(self, token: str | None = None) -> httpx2.Client:
        """Return a client with ``token``, the operator's when ``None``; "" for no token at all."""
        chosen = self.operator if token is None else token
        headers = {"authorization": f"Bearer {chosen}"} if chosen else {}
        return httpx2.Client(base_url=f"{self.url}/api/v1", headers=headers, trust_env=False, timeout=30)


class Host:
    """Runs platform and server on one event loop in a thread."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._server: Guest
        self._failure: BaseException | None = None
        self.served: Served

    def start(self) -> Served:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self.served

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(setattr, self._server, "should_exit", True)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failure = error
            self._ready.set()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _serve(self) -> None:
        platform = Platform(load(home=self._home, trust="internal", port=0, gateway_port=0, drain_s=0.5))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            platform.api_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            await platform.start()
            self._server = server_of(create_app(platform))
            operator = platform.credentials.create_operator("tests").secret
            self.served = Served(platform, platform.api_url, operator)
            serving = asyncio.create_task(self._server.serve(sockets=[listener]))
            self._ready.set()
            try:
                await serving
            finally:
                await platform.stop()


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    """Log failures only; pytest shows them beside the test."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    host = Host(tmp_path_factory.mktemp("home"))
    yield host.start()
    host.stop()


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
