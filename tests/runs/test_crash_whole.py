"""``kill -9`` of a whole platform, with real sandboxes, doors and model calls: what the host keeps of it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from insula.identity import Usage
from insula.runs.failpoints import POINTS

pytestmark = pytest.mark.root
HERE = Path(__file__).parent
QUICK = ("sandbox_launched",)
BEFORE_A_CALL = {"index_written", "record_written", "workflow_started", "admitted", "door_open"}


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


real = _load("runs_real", HERE / "real.py")


@pytest.fixture
def upstream() -> Iterator[Any]:
    made = _load("runs_upstream", HERE.parent / "e2e" / "upstream.py").Upstream()
    yield made
    made.close()


def _dies(home: Path, point: str, upstream: str) -> int:
    """Let a platform die at ``point``; return the pid that its spawner had."""
    died = subprocess.Popen(
        [sys.executable, str(HERE / "real.py"), str(home), point, upstream],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    family: set[psutil.Process] = set()
    while died.poll() is None:
        try:
            family |= set(psutil.Process(died.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.002)
    _, errors = died.communicate(timeout=10)
    assert died.returncode == -signal.SIGKILL, errors.decode()[-2000:]
    psutil.wait_procs(family, timeout=10)
    assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
    return min(one.pid for one in family)


def _left_of(spawner: int, home: Path) -> list[str]:
    """What the host still has of a platform: control groups, uid locks, sockets."""
    groups = [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if f"/insula-{spawner}-" in folder]
    instances = [str(path) for path in Path("/run/insula/instances").glob(f"insula-{spawner}-*")]
    sockets = [str(path) for path in (home / "run").rglob("*.sock")]
    bound = [line for line in Path("/proc/net/unix").read_text().splitlines() if str(home) in line]
    return groups + instances + sockets + bound


async def _next_platform(home: Path) -> tuple[Any, list[Any], Any]:
    async with real.platform_at(home) as platform:
        ctx = real.context(platform)
        runs = (await platform.runs.list(ctx)).items
        assert len(runs) == 1
        async with asyncio.timeout(30):
            events = [event async for event in platform.runs.follow(ctx, runs[0].run)]
            while not (await platform.runs.list(ctx)).items[0].state.terminal:
                await asyncio.sleep(0.01)
        authority = platform.authority
        usage = authority.verifier(Usage).verify(authority.mint(real.ACME, "operator/op1", Usage))
        booked = (await platform.usage_reports.report(usage)).total
        view = await platform.runs.get(ctx, runs[0].run)
        assert not list((home / "run").rglob("*.sock")), "a door is still open"
    return view, events, booked


@pytest.mark.parametrize(
    "point", [p if p in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in POINTS]
)
def test_nothing_is_left_and_nothing_is_counted_twice(tmp_path: Path, upstream: Any, point: str) -> None:
    home = tmp_path / "home"
    spawner = _dies(home, point, upstream.base_url)
    served = len(upstream.requests)
    assert point not in BEFORE_A_CALL or served == 0
    view, events, booked = asyncio.run(_next_platform(home))
    assert _left_of(spawner, home) == []
    assert [event.final for event in events].count(True) == (0 if point == "index_written" else 1)
    assert view.state == ("failed" if point == "index_written" else "succeeded"), view.reason
    if point != "sandbox_launched":
        # There the platform may die between the upstream's answer and the booking of it: then the answer
        # never reached the agent either, and is the upstream's to bill.
        assert booked.calls == view.usage.calls == len(upstream.requests)
    assert booked.calls == view.usage.calls <= len(upstream.requests)
    assert booked.input_tokens == 20 * booked.calls == view.usage.input_tokens
