"""Several gateway processes on one store; and one that is killed between any two steps."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from insula.governance import Limits, Need, Scope, used_tokens
from insula.governance.stores.address import Address
from insula.governance.stores.valkey import ValkeyStore
from insula.kernel.errors import RateLimited

GATEWAY = Path(__file__).with_name("gateway_process.py")
Start = Callable[..., subprocess.Popen[str]]
SCOPE = Scope("acme", "desk", "clerk")


@pytest.fixture
def gateway() -> Iterator[Start]:
    """Start gateway processes; none outlives the test."""
    running: list[subprocess.Popen[str]] = []

    def start(server: Any, limits: dict[str, Any], *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(GATEWAY), server.address, json.dumps(limits), *map(str, words)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.wait()
        assert one.stdout is not None
        one.stdout.close()


def overshoot(calls: list[list[int]], burst: int, per_minute: int) -> int:
    """Return by how much the worst window's use passes burst + rate * time; ticks of a 60-millionth token.

    The worst window ends at some admission: its excess is the growth of (use - refill) since its lowest.
    """
    worst, lowest, total = 0, 0, 0
    for at, _, used in sorted(calls):
        owed = at * per_minute
        lowest = min(lowest, total - owed) if total else -owed
        total += used * 60_000_000
        worst = max(worst, total - owed - lowest - burst * 60_000_000)
    return worst


def most_at_once(calls: list[list[int]]) -> int:
    events = sorted([(end, -1) for _, end, _ in calls] + [(start, 1) for start, _, _ in calls])
    now = most = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most


def flood(gateway: Start, server: Any, limits: dict[str, Any], seconds: float) -> list[list[int]]:
    running = [gateway(server, limits, "flood", f"g{number}", 64, seconds) for number in range(8)]
    told = [json.loads(one.communicate(timeout=90)[0]) for one in running]
    assert all(one["open"] == 0 for one in told), "the store decided every call"
    assert sum(one["refused"] for one in told) > 0, "the limit was reached"
    return [call for one in told for call in one["calls"]]


def test_the_measure_of_overshoot_sees_one_token_too_many() -> None:
    minute = 60_000_000
    assert overshoot([[0, 0, 10], [minute, 0, 5], [2 * minute, 0, 5]], 10, 5) == 0
    assert overshoot([[0, 0, 10], [minute, 0, 6]], 10, 5) == minute
    assert overshoot([[0, 0, 1], [50 * minute, 0, 10], [50 * minute, 0, 1]], 10, 5) == minute


@pytest.mark.slow
def test_eight_gateways_with_64_callers_each_pass_no_rate(gateway: Start, servers: Any) -> None:
    calls = flood(gateway, servers(), {"*": {"tpm": 60_000, "tpm_burst": 3_000}}, 4)
    assert overshoot(calls, 3_000, 60_000) <= 0
    assert sum(used for *_, used in calls) > 4_500, "the limit was used"


@pytest.mark.slow
def test_eight_gateways_with_64_callers_each_pass_no_slots(gateway: Start, servers: Any) -> None:
    calls = flood(gateway, servers(), {"acme": {"in_flight": 7}}, 3)
    assert most_at_once(calls) <= 7
    assert len(calls) > 50


@pytest.mark.slow
def test_eight_gateways_with_64_callers_each_pass_no_budget(gateway: Start, servers: Any) -> None:
    calls = flood(gateway, servers(), {"acme": {"tokens_per_day": 5_000}}, 3)
    assert 4_900 < sum(used for *_, used in calls) <= 5_000


@pytest.mark.parametrize(("steps", "counted"), [(0, 30), (1, 30), (2, 50), (3, 80)])
def test_a_gateway_killed_between_two_steps_leaves_no_hold(
    gateway: Start, shared_server: Any, steps: int, counted: int
) -> None:
    """Within its time to live the hold is free, and what is counted is the use, or else the input."""
    tenant = {"acme": {"tpm": 600, "tpm_burst": 10**6, "in_flight": 1}}
    limits = Limits.parse(tenant["acme"])
    shared_server.say(b"FLUSHALL")
    child = gateway(shared_server, tenant, "step", f"victim{steps}", steps)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.kill()

    async def look() -> int:
        store = ValkeyStore(
            Address.parse(shared_server.address), lambda key: limits if key == "acme" else Limits()
        )
        await store.start()
        end = time.monotonic() + 10
        while True:
            try:
                await store.reserve(SCOPE, "next", Need.tokens(0))
                break
            except RateLimited:
                assert time.monotonic() < end, "the hold never came free"
                await asyncio.sleep(0.05)
        path = store._known.path(store._known.route(SCOPE), store._link.ground, 0)  # type: ignore[arg-type]
        store.settle("next", used_tokens(0))
        await store.stop()
        assert path.tokens[0].pending == 0
        return -(-(path.tokens[0].capacity - path.tokens[0].level) // 60_000_000)

    assert asyncio.run(look()) == counted
