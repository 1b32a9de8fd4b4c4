"""From the request for a sandbox to the first line that user Python prints, and to the receipt of its end.

python -m benchmarks.sandbox_start [--rounds 60] [--json]

In every round, one after the other so that all see the same machine: a bare interpreter from start to exit,
and a sandbox of each rung with everything on and the real pid 1, from a waiting seat (as a platform serves)
and without one (as when requests come faster than seats). Then sandboxes at once, and processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from insula.identity import Authority
from insula.identity import Sandboxes as Audience
from insula.kernel.clock import SystemClock
from insula.kernel.ids import RunId, TenantId, mint
from insula.runtimes import RuntimeStore, compile_pid1
from insula.sandbox import Exit, Sandboxes, SandboxSpec
from insula.settings import Settings
from insula.tenancy import IsolationProfile, Rung, Tier, Trust, resolve
from insula.wiring.ground import lay
from insula.wiring.launching import PID_1

RATIO_MAX = 2.5
ACME = TenantId("acme")
BASE = getattr(sys, "_base_executable", sys.executable)
SERVED, BARE_HANDED = range(220_000, 220_500), range(220_500, 221_000)
ENVIRONMENT = {
    "PATH": "/usr/bin",
    "HOME": "/work",
    "TMPDIR": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
}
PAUSE_S = 0.08
"""Between two starts: longer than the platform takes to fill a seat."""


@dataclass(frozen=True, slots=True)
class File:
    """The agent: one file."""

    path: str = "main.py"
    mode: int = 0o644
    data: bytes = b"print('first line')\n"


@dataclass(slots=True)
class Series:
    """Milliseconds by what was done, and processor seconds of the sandboxes themselves."""

    first_line: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    whole: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    inside: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


class Bench:
    """A fleet of sandboxes and what a request for one needs."""

    def __init__(self, sandboxes: Sandboxes, authority: Authority, rootfs: Path, pid1: Path) -> None:
        self.sandboxes = sandboxes
        self._authority = authority
        self._rootfs = rootfs
        self._pid1 = pid1
        self._clock = SystemClock()
        self._door = pid1.parent / "door.sock"
        if not self._door.exists():
            with socket.socket(socket.AF_UNIX) as door:
                door.bind(str(self._door))

    async def start(self, rung: Rung) -> tuple[float, float, Exit]:
        """Run the agent once; return milliseconds to its first line and to its receipt, and its end."""
        profile = _profile(rung)
        spec = SandboxSpec(
            tenant=ACME,
            run=(run := RunId(mint("run", self._clock))),
            rootfs=self._rootfs,
            command=(*PID_1, "python", "main.py"),
            bounds=profile.sandbox,
            environment=ENVIRONMENT,
            files=(File(),),
            agent=self._pid1,
        )
        token = self._authority.mint(ACME, f"run/{run}", Audience, run=run)
        context = self._authority.verifier(Audience).verify(token)
        begun = time.perf_counter()
        sandbox = await self.sandboxes.launch(context, spec, profile, self._open_door)
        try:
            chunk = await anext(sandbox.output)
            shown = time.perf_counter()
            assert sandbox.backend is rung and chunk.data.startswith(b"first line"), chunk
            ended = await sandbox.wait()
        finally:
            receipt = await sandbox.destroy()
        assert receipt.clean, receipt
        return (shown - begun) * 1000, (time.perf_counter() - begun) * 1000, ended

    async def _open_door(self, uid: int) -> Path:
        return self._door


def _profile(rung: Rung) -> IsolationProfile:
    overrides = {} if rung is Rung.BUBBLEWRAP else {"compute": str(rung)}
    return replace(resolve(Tier.FREE, Trust.INTERNAL, overrides))


def keep_seats(sandboxes: Sandboxes, rungs: list[Rung]) -> None:
    """Have seats of every rung; a platform keeps those of its strongest."""
    for rung in rungs:
        sandboxes._line.send({"op": "seats", "recipe": str(rung), "count": 2})


def bare_ms() -> float:
    """Return the wall time of an interpreter that does nothing, from start to exit."""
    begun = time.perf_counter()
    pid = os.posix_spawn(BASE, [BASE, "-I", "-S", "-c", "pass"], {})
    os.waitpid(pid, 0)
    return (time.perf_counter() - begun) * 1000


async def interleaved(served: Bench, cold: Bench, rungs: list[Rung], rounds: int) -> Series:
    """Measure everything in every round, so that what else the machine does falls on all alike."""
    series = Series()
    for round_number in range(rounds + 2):
        for name, bench in (("seat waiting", served), ("no seat", cold)):
            for rung in rungs:
                await asyncio.sleep(PAUSE_S)
                bare = bare_ms()
                line, whole, ended = await bench.start(rung)
                if round_number >= 2:
                    key = f"{rung}, {name}"
                    series.first_line["bare interpreter"].append(bare)
                    series.first_line[key].append(line)
                    series.whole[key].append(whole)
                    series.inside[key].append(ended.cpu_s * 1000)
    return series


async def at_once(bench: Bench, rung: Rung, count: int) -> float:
    """Return sandboxes per second, request to receipt, ``count`` at once."""
    begun = time.perf_counter()
    await asyncio.gather(*(bench.start(rung) for _ in range(count)))
    return count / (time.perf_counter() - begun)


async def outside_ms(bench: Bench, rung: Rung, count: int) -> float:
    """Return processor milliseconds that platform and spawner spend for one sandbox."""
    family = [psutil.Process(), *psutil.Process().children()]
    before = sum(sum(one.cpu_times()[:2]) for one in family)
    for _ in range(count):
        await bench.start(rung)
    return (sum(sum(one.cpu_times()[:2]) for one in family) - before) * 1000 / count


async def measure(home: Path, rounds: int) -> dict[str, Any]:
    """Return every figure."""
    settings = Settings(home=home, trust=Trust.INTERNAL).resolved()
    clock = SystemClock()
    ground = lay(settings, clock)
    ground.registry.create(ACME, Tier.FREE)
    rootfs = (
        RuntimeStore(home / "runtimes", settings.cache / "runtimes").ensure_shipped(("python",))[0].rootfs
    )
    given = ground.authority, rootfs, compile_pid1(home)
    served = Bench(Sandboxes(clock, SERVED), *given)
    cold = Bench(Sandboxes(clock, BARE_HANDED, seats=0), *given)
    try:
        await served.sandboxes.start()
        await cold.sandboxes.start()
        report = served.sandboxes.report()
        rungs = [rung for rung in (Rung.BUBBLEWRAP, Rung.NAMESPACE) if not report[rung]]
        keep_seats(served.sandboxes, rungs)
        series = await interleaved(served, cold, rungs, rounds)
        rates = {str(rung): await at_once(served, rung, 20) for rung in rungs}
        outside = {str(rung): await outside_ms(served, rung, max(10, rounds // 2)) for rung in rungs}
    finally:
        await served.sandboxes.stop()
        await cold.sandboxes.stop()
        ground.close()
    return {"series": series, "per_s": rates, "outside_ms": outside}


def rows(seen: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row for each kind of start, with its ratio to the bare interpreter of the same rounds."""
    series: Series = seen["series"]
    bare = statistics.median(series.first_line["bare interpreter"])
    table = []
    for name, taken in series.first_line.items():
        median = statistics.median(taken)
        ranked = sorted(taken)
        row = {"name": name, "first_line_ms": median, "least_ms": ranked[0]}
        row["p90_ms"] = ranked[int(len(ranked) * 0.9)]
        row["ratio"] = median / bare
        if name in series.whole:
            row["receipt_ms"] = statistics.median(series.whole[name])
            row["cpu_inside_ms"] = statistics.median(series.inside[name])
        table.append(row)
    return table


def figures(seen: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the benchmark promises: name, value, unit, bound."""
    return [
        {
            "name": f"{row['name']}: first line of user Python / bare interpreter, p50",
            "value": round(row["ratio"], 2),
            "unit": "x",
            "bound": RATIO_MAX,
        }
        for row in rows(seen)
        if row["name"] == "bubblewrap, seat waiting"
    ]


def show(seen: dict[str, Any]) -> None:
    print(
        f"{'':28} {'first line':>10} {'least':>7} {'p90':>7} {'ratio':>6} {'receipt':>8} {'cpu inside':>11}"
    )
    for row in rows(seen):
        line = f"{row['name']:28} {row['first_line_ms']:7.1f} ms {row['least_ms']:7.1f}"
        line += f" {row['p90_ms']:7.1f} {row['ratio']:5.2f}x"
        if "receipt_ms" in row:
            line += f" {row['receipt_ms']:5.1f} ms {row['cpu_inside_ms']:8.1f} ms"
        print(line)
    for rung, rate in seen["per_s"].items():
        spent = seen["outside_ms"][rung]
        print(f"{rung}: 20 at once {rate:.1f}/s; platform and spawner {spent:.1f} ms cpu each")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60, help="how often each kind is started")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        seen = asyncio.run(measure(Path(home), given.rounds))
    promised = figures(seen)
    if given.json:
        detail = {"starts": rows(seen), "per_s": seen["per_s"], "outside_ms": seen["outside_ms"]}
        print(json.dumps({"figures": promised, "detail": detail}))
    else:
        show(seen)
        for one in promised:
            print(f"{one['name']}: {one['value']} {one['unit']} (bound {one['bound']})")
    sys.exit(0 if promised and all(one["value"] <= one["bound"] for one in promised) else 1)


if __name__ == "__main__":
    main()
