"""Whole runs through the control plane: accepted to result, throughput, and what is left behind.

python -m benchmarks.runs [--runs 200] [--at-once 20] [--json]

Starts a platform in a temporary home, deploys a trivial agent and runs it: one at a time for the latency,
then ``--at-once`` at a time for the throughput, then until ``--runs`` have been made. The host is compared
before and after: processes, threads, mounts, file descriptors, control groups, sockets, files under /run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil

INSULA = str(Path(sys.executable).with_name("insula"))
P50_MS_MAX = 150
RUNS_PER_S_MIN = 8
POOLED_MAX = 24
AGENT = {"agent.toml": 'name = "trivial"\nentrypoint = "python main.py"\n', "main.py": "print('done')\n"}
ENDED = {"succeeded", "failed", "cancelled", "timed_out", "refused"}


@contextmanager
def platform(home: Path) -> Iterator[dict[str, Any]]:
    """Start a platform under ``home``; yield what it says when it is ready."""
    environment = {**os.environ, "INSULA_HOME": str(home)}
    command = [INSULA, "up", "--port", "0", "--gateway-port", "0", "--trust", "internal", "--json"]
    log = (home.parent / "log").open("wb")
    with log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment) as up:
        try:
            assert up.stdout is not None
            yield json.loads(up.stdout.readline())
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(60)


def deploy(home: Path) -> None:
    """Create a tenant and deploy the trivial agent."""
    folder = home.parent / "agent"
    folder.mkdir()
    for name, text in AGENT.items():
        (folder / name).write_text(text)
    environment = {**os.environ, "INSULA_HOME": str(home)}
    for command in (["tenant", "create", "acme", "--tier", "pro"], ["agent", "deploy", "acme", str(folder)]):
        subprocess.run([INSULA, *command, "--json"], env=environment, check=True, stdout=subprocess.DEVNULL)


async def one_run(client: httpx2.AsyncClient) -> float:
    """Make a run and return the seconds from sending it to its result."""
    begun = time.perf_counter()
    accepted = await client.post("/api/v1/tenants/acme/agents/trivial/runs", json={})
    accepted.raise_for_status()
    run = accepted.json()["run"]
    async with client.stream("GET", f"/api/v1/runs/{run}/events") as events:
        async for _line in events.aiter_lines():
            pass
    shown = (await client.get(f"/api/v1/runs/{run}")).json()
    assert shown["state"] == "succeeded" and shown["output"] == "done\n", shown
    assert shown["workspace_destroyed"], shown
    return time.perf_counter() - begun


async def measure(ready: dict[str, Any], runs: int, at_once: int, before: Any) -> dict[str, Any]:
    """Return the figures. ``before`` is called when the platform is warm, to take the baseline."""
    headers = {"authorization": f"Bearer {ready['token']}"}
    limits = httpx2.Limits(max_connections=2 * at_once)
    async with httpx2.AsyncClient(
        base_url=ready["api"], headers=headers, timeout=120, limits=limits
    ) as client:
        for _ in range(3):  # warm: pools of connections and threads have their full size
            await asyncio.gather(*(one_run(client) for _ in range(2 * at_once)))
        await asyncio.sleep(1)
        before()
        alone = [await one_run(client) for _ in range(40)]
        begun = time.perf_counter()
        await asyncio.gather(*(one_run(client) for _ in range(at_once)))
        rate = at_once / (time.perf_counter() - begun)
        turn = asyncio.Semaphore(at_once)

        async def more() -> None:
            async with turn:
                await one_run(client)

        begun = time.perf_counter()
        rest = max(0, runs - 40 - at_once)
        await asyncio.gather(*(more() for _ in range(rest)))
        steady = rest / (time.perf_counter() - begun) if rest else rate
    return {
        "p50_ms": statistics.median(alone) * 1000,
        "p95_ms": sorted(alone)[int(len(alone) * 0.95)] * 1000,
        "runs_per_s": rate,
        "steady_runs_per_s": steady,
    }


def traces(pid: int, home: Path) -> Counter[str]:
    """Count what the platform ``pid`` has on this host, by kind. Other platforms do not matter."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    spawner = family[1].pid
    found = Counter(f"process {one.name()}" for one in family)
    for one in (pid, spawner):
        found.update(f"descriptor {kind}" for kind in _descriptors(one))
        found["mount"] += len(Path(f"/proc/{one}/mountinfo").read_text().splitlines())
        found["thread"] += len(list(Path(f"/proc/{one}/task").iterdir()))
    groups = f"/insula-{spawner}-"
    found["control group"] = sum(groups in folder for folder, _, _ in os.walk("/sys/fs/cgroup"))
    found["file in run/"] = sum(1 for path in (home / "run").rglob("*") if not path.is_dir())
    found["socket"] = Path("/proc/net/unix").read_text().count(str(home))
    return found


def _descriptors(pid: int) -> Iterator[str]:
    """Yield the kind of each open descriptor; a lock of a uid is of one kind whichever uid it is."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = entry.readlink()
            yield "uid" if target.parent.name == "uids" else target.name.split(":")[0]


def leaked(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    """Return what there is more of than there was.

    Pools of database connections fill up when they like, to a bound: only more than that is a leak.
    """
    more = after - before
    return {kind: n for kind, n in more.items() if ".db" not in kind or after[kind] > POOLED_MAX}


def settled(before: Counter[str], pid: int, home: Path, patience_s: float = 10) -> dict[str, int]:
    """Wait until nothing is left over, or patience ends; return what is."""
    deadline = time.monotonic() + patience_s
    while True:
        left = leaked(before, traces(pid, home))
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def benchmark(runs: int, at_once: int) -> dict[str, Any]:
    """Run everything; return the figures and what leaked."""
    with tempfile.TemporaryDirectory() as root:
        home = Path(root) / "home"
        with platform(home) as ready:
            deploy(home)
            baseline: Counter[str] = Counter()
            figures = asyncio.run(
                measure(ready, runs, at_once, lambda: baseline.update(traces(ready["pid"], home)))
            )
            figures["leaked"] = settled(baseline, ready["pid"], home)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200, help="how many runs to make in all")
    parser.add_argument("--at-once", type=int, default=20, help="how many at the same time")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    given = parser.parse_args()
    seen = benchmark(given.runs, given.at_once)
    left = sum(seen["leaked"].values())
    figures = [
        {
            "name": "whole run, accepted to result, p50",
            "value": round(seen["p50_ms"], 1),
            "unit": "ms",
            "bound": P50_MS_MAX,
        },
        {
            "name": f"{given.at_once} runs at once",
            "value": round(seen["runs_per_s"], 1),
            "unit": "runs/s",
            "at_least": RUNS_PER_S_MIN,
        },
        {"name": f"left behind after {given.runs} runs", "value": left, "unit": "things", "bound": 0},
    ]
    if given.json:
        print(json.dumps({"figures": figures, "detail": seen}))
    else:
        for one in figures:
            limit = f"at most {one['bound']}" if "bound" in one else f"at least {one['at_least']}"
            print(f"{one['name']}: {one['value']} {one['unit']} ({limit})")
        print(f"p95 {seen['p95_ms']:.1f} ms, steady {seen['steady_runs_per_s']:.1f} runs/s")
        for kind, count in seen["leaked"].items():
            print(f"left behind: {count} more {kind}")
    met = (seen["p50_ms"] <= P50_MS_MAX, seen["runs_per_s"] >= RUNS_PER_S_MIN, left == 0)
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
