"""Whole runs through the control plane: accepted to result, throughput, and what is left behind.

python -m benchmarks.runs [--runs 200] [--at-once 20] [--json]

Starts a platform in a temporary home, deploys a trivial agent and runs it: one at a time for the latency,
then ``--at-once`` at a time for the throughput, then until ``--runs`` have been made. The host is compared
before and after: processes, mounts, file descriptors, control groups, sockets, files under /run.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil

INSULA = str(Path(sys.executable).with_name("insula"))
P50_MS_MAX = 150
RUNS_PER_S_MIN = 8
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
        for _ in range(at_once):
            await one_run(client)
        await asyncio.gather(*(one_run(client) for _ in range(at_once)))
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


def traces(pid: int) -> dict[str, set[str]]:
    """Return what the platform ``pid`` has on this host, by kind, as names that stay while nothing leaks.

    Sandboxes kept ready are part of the platform: they count by number, not by name.
    """
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    folders = [Path("/run/insula"), *Path("/sys/fs/cgroup").glob("**/insula-*")]
    return {
        "processes": {f"{one.name()} {index}" for index, one in enumerate(family)},
        "mounts": set(Path("/proc/self/mountinfo").read_text().splitlines()),
        "descriptors": {
            f"{kind} {index}" for kind, count in _descriptors(family).items() for index in range(count)
        },
        "files": {f"{top.name} {index}" for top in folders for index, _ in enumerate(top.rglob("*"))},
        "sockets": {line.split()[-1] for line in _sockets() if ".sock" in line},
    }


def _descriptors(family: list[psutil.Process]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in family[:2]:  # the platform and its spawner; the others are sandboxes
        for entry in Path(f"/proc/{one.pid}/fd").iterdir():
            try:
                kind = entry.readlink().name.split(":")[0].split("[")[0]
            except OSError:
                continue
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def _sockets() -> list[str]:
    return Path("/proc/net/unix").read_text().splitlines()


def leaked(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, list[str]]:
    """Return what is there that was not there before."""
    return {kind: sorted(after[kind] - before[kind]) for kind in before if after[kind] - before[kind]}


def settled(before: dict[str, set[str]], pid: int, patience_s: float = 10) -> dict[str, list[str]]:
    """Wait until nothing is left over, or patience ends; return what is."""
    deadline = time.monotonic() + patience_s
    while True:
        left = leaked(before, traces(pid))
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def benchmark(runs: int, at_once: int) -> dict[str, Any]:
    """Run everything; return the figures and what leaked."""
    with tempfile.TemporaryDirectory() as root:
        home = Path(root) / "home"
        with platform(home) as ready:
            deploy(home)
            baseline: dict[str, set[str]] = {}
            figures = asyncio.run(
                measure(ready, runs, at_once, lambda: baseline.update(traces(ready["pid"])))
            )
            figures["leaked"] = settled(baseline, ready["pid"])
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
    left = sum(len(names) for names in seen["leaked"].values())
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
        print(json.dumps({"figures": figures, "detail": seen}, default=list))
    else:
        for one in figures:
            limit = f"at most {one['bound']}" if "bound" in one else f"at least {one['at_least']}"
            print(f"{one['name']}: {one['value']} {one['unit']} ({limit})")
        print(f"p95 {seen['p95_ms']:.1f} ms, steady {seen['steady_runs_per_s']:.1f} runs/s")
        for kind, names in seen["leaked"].items():
            print(f"left behind: {kind}: {', '.join(names[:5])}")
    met = (seen["p50_ms"] <= P50_MS_MAX, seen["runs_per_s"] >= RUNS_PER_S_MIN, left == 0)
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
