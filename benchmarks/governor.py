"""How fast limits are decided and usage is recorded, beside what the same machine does bare.

python -m benchmarks.governor [--json] [--directory DIR] [--idle TENANTS]

CPU figures are the best of several windows, in the time of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
import uvloop

from insula.governance import UNIT, Bucket, Governor, Limits, Need, Scope, used_tokens
from insula.kernel.errors import RateLimited
from insula.storage import ControlDatabase
from insula.usage import Outbox, Recorder, UsageEvent
from insula.usage.adapters.sql import SqlBooks

HUGE = Limits(rpm=10**8, tpm=10**11, in_flight=10**5)
WINDOWS, PAIRS = 5, 20_000
PAIR_US_MAX = 10  # 100,000 pairs a second
IDLE_BYTES_MAX = 1024
IDLE, SWEEPS = 100_000, 50


def best_us(action: Callable[[int], None], count: int) -> float:
    """Return the least CPU microseconds per call of ``action`` over a few windows."""
    best = float("inf")
    for window in range(WINDOWS):
        start = time.process_time()
        for number in range(window * count, (window + 1) * count):
            action(number)
        best = min(best, (time.process_time() - start) / count * 1e6)
    return best


class SixLevels:
    """A path longer than any caller's, one limit on each level."""

    tenant, key = "acme", "six"

    def levels(self) -> tuple[tuple[str, str], ...]:
        return (("platform", "*"), *((f"level{n}", f"acme/{n}") for n in range(5)))


class NaiveBucket:
    """The obvious bucket, which debits the estimate and pays back what was not used: it breaks its limit."""

    def __init__(self, capacity: int, rate: int) -> None:
        self.capacity, self.rate, self.level, self.stamp = capacity, rate, capacity, 0

    def reserve(self, tokens: int, now: int) -> bool:
        self.level = min(self.capacity, self.level + (now - self.stamp) * self.rate)
        self.stamp = now
        if self.level < tokens:
            return False
        self.level -= tokens
        return True

    def settle(self, estimate: int, used: int, now: int) -> None:
        self.level = min(self.capacity, self.level + (now - self.stamp) * self.rate)
        self.stamp = now
        self.level = min(self.capacity, self.level + estimate - used)


def overshoot(seeds: int = 200) -> tuple[float, float]:
    """Return by how many bursts each bucket's use exceeds burst + rate x time at worst: ours, the naive one.

    Calls arrive in bursts and use a tenth to all of what they reserved, over seeded gaps.
    """
    worst = [0.0, 0.0]
    for seed in range(seeds):
        for kind in (0, 1):
            worst[kind] = max(worst[kind], _excess(random.Random(seed), kind))
    return worst[0], worst[1]


def _excess(chance: random.Random, kind: int) -> float:
    burst, rate = 1_000, 10  # a unit a tick
    now, running, uses = 0, [], []
    naive = NaiveBucket(burst, rate)
    bucket = Bucket(burst, rate * 60_000_000, 0)  # the same rate: UNIT ticks a microsecond
    for _ in range(300):
        now += chance.choice([0, 0, 1, 5, 20, 100])
        if running and chance.random() < 0.5:
            estimate, used = running.pop(chance.randrange(len(running)))
            if kind:
                naive.settle(estimate, used, now)
            else:
                bucket.use(used * UNIT, estimate * UNIT, now)
            uses.append((now, used))
            continue
        estimate = chance.randint(1, burst)
        free = naive.reserve(estimate, now) if kind else bucket.free(now) >= estimate * UNIT
        if free:
            if not kind:
                bucket.hold(estimate * UNIT)
            running.append((estimate, chance.randint(estimate // 10, estimate)))
    return max(
        (sum(used for _, used in uses[a : b + 1]) - burst - rate * (uses[b][0] - uses[a][0])) / burst
        for a in range(0, len(uses), 3)
        for b in range(a, len(uses), 3)
    )


def idle_tenants(tenants: int) -> tuple[float, float, int]:
    """Return bytes of a tenant that went idle, CPU milliseconds of a sweep, and how many levels stay."""
    clock = [0]
    tier = Limits(rpm=20, rpm_burst=1, tpm=20_000, tpm_burst=8_000, in_flight=2, tokens_per_month=10**9)
    one = Governor(lambda: clock[0], lambda key: tier if key != "*" else Limits(), wall_s=lambda: 1.79e9)
    gc.collect()
    before = resident()
    for number in range(tenants):
        rid = str(number)
        one.reserve(Scope(f"tenant{number}"), rid, Need.tokens(100))
        one.settle(rid, used_tokens(90))
        if number % 1000 == 999:  # two minutes later, as tenants come and go
            clock[0] += 120_000_000
            one.expire()
    while len(one._levels) > 1:
        one.expire()
    gc.collect()
    asleep = (resident() - before) / tenants
    begun = time.process_time()
    for _ in range(SWEEPS):
        one.expire()
    return asleep, (time.process_time() - begun) / SWEEPS * 1e3, len(one._levels)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def governor(limits: Limits) -> Governor:
    return Governor(lambda: time.monotonic_ns() // 1000, lambda _key: limits)


def decisions() -> dict[str, float]:
    """Reserve and settle over platform, tenant and agent; refusals; headers."""
    scope = Scope("acme", "researcher")
    need, used = Need.tokens(500, charge=100), used_tokens(400)
    figures: dict[str, float] = {}
    for name, limits in (("9_buckets", HUGE), ("6_buckets", Limits(rpm=10**8, tpm=10**11))):
        one = governor(limits)

        def pair(number: int, one: Governor = one) -> None:
            rid = str(number)
            one.reserve(scope, rid, need)
            one.settle(rid, used)

        figures[f"pair_us_{name}"] = best_us(pair, PAIRS)
        figures[f"pairs_per_s_{name}"] = 1e6 / figures[f"pair_us_{name}"]
    six, path = governor(Limits(tpm=10**11)), SixLevels()

    def six_levels(number: int) -> None:
        rid = str(number)
        six.reserve(path, rid, need)  # type: ignore[arg-type]
        six.settle(rid, used)

    figures["pair_us_6_levels"] = best_us(six_levels, PAIRS)
    figures["standing_us"] = best_us(lambda _number: void(one.standing(scope)), PAIRS)
    figures["refusal_us"] = best_us(refuser(scope), PAIRS // 4)
    return figures


def refuser(scope: Scope) -> Callable[[int], None]:
    tight = governor(Limits(rpm=1))
    tight.reserve(scope, "the only one")

    def refuse(number: int) -> None:
        try:
            tight.reserve(scope, f"more {number}")
        except RateLimited:
            return
        raise AssertionError("admitted beyond the limit")

    return refuse


def expiry(live: int = 10_000) -> float:
    """Return the milliseconds that one sweep takes over so many running reservations."""
    one = governor(HUGE)
    for number in range(live):
        one.reserve(Scope("acme", f"agent{number % 100}"), str(number), Need.tokens(), 3600)
    one._soonest_us = 0
    start = time.perf_counter()
    one.expire()
    return (time.perf_counter() - start) * 1e3


IDS = itertools.count()


def event() -> UsageEvent:
    return UsageEvent(
        event_id=f"evt_{next(IDS):026d}",
        tenant_id="acme",
        request_id="req_01k00000000000000000000000",
        provider="openai",
        model_id="gpt-4o",
        timestamp=1_790_000_001.5,
        started_at=1_790_000_000.0,
        input_tokens=1_000,
        output_tokens=200,
        quota_tokens=1_200,
        cost_nanousd=4_500_000,
        price_version="list",
        agent_id="researcher",
        run_id="run_01k00000000000000000000000",
        subject="spiffe://insula/t/acme/agent/researcher",
        endpoint="main",
        request_model="gpt-4o",
    )


def bare_commit_us(directory: Path) -> float:
    """Return the median microseconds of one small durable write: what nothing can be faster than."""
    fd = os.open(directory / "bare", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
    os.posix_fallocate(fd, 0, 1 << 20)
    times = []
    for number in range(500):
        start = time.perf_counter()
        os.pwrite(fd, b"x" * 400, number * 400)
        times.append(time.perf_counter() - start)
    os.close(fd)
    return sorted(times)[250] * 1e6


async def recording(directory: Path, callers: int, count: int) -> dict[str, float]:
    """Callers that each record one event after the other, every one durable; then everything booked."""
    control = ControlDatabase(directory / f"control{callers}.db")
    recorder = Recorder(Outbox(directory / f"usage{callers}"), SqlBooks(control))
    await recorder.start()
    waits: list[float] = []

    async def caller() -> None:
        for _ in range(count // callers):
            start = time.perf_counter()
            await recorder.record(event())
            waits.append(time.perf_counter() - start)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    took = time.perf_counter() - wall
    await recorder.flush()
    cpu = time.process_time() - cpu
    await recorder.stop()
    control.close()
    waits.sort()
    return {
        "events_per_s": len(waits) / took,
        "p50_us": waits[len(waits) // 2] * 1e6,
        "p99_us": waits[int(len(waits) * 0.99)] * 1e6,
        "cpu_us_per_event_booked": cpu / len(waits) * 1e6,
    }


def figure(name: str, value: float, unit: str, bound: float | None = None) -> dict[str, Any]:
    return {"name": name, "value": round(value, 1), "unit": unit, "bound": bound}


def governing(idle: int) -> list[dict[str, Any]]:
    found = decisions()
    asleep, sweep_ms, _ = idle_tenants(idle)
    ours, naive = overshoot()
    return [
        figure("reserve + settle, 6 levels, CPU", found["pair_us_6_levels"], "us", PAIR_US_MAX),
        figure("reserve + settle, 6 levels", 1e6 / found["pair_us_6_levels"], "/s"),
        figure("reserve + settle, 9 buckets on 3 levels", found["pairs_per_s_9_buckets"], "/s"),
        figure("reserve + settle, 6 buckets on 3 levels", found["pairs_per_s_6_buckets"], "/s"),
        figure("beyond the bound at worst, in bursts: this bucket", max(0.0, ours), "x", 0.0),
        figure("beyond the bound at worst: a bucket that refunds", naive, "x"),
        figure("an idle tenant with a budget, resident", asleep, "B", IDLE_BYTES_MAX),
        figure(f"a sweep beside {idle:,} idle tenants, CPU", sweep_ms, "ms"),
        figure("refusal with its reason, CPU", found["refusal_us"], "us"),
        figure("figures for the response headers, CPU", found["standing_us"], "us"),
        figure("sweep over 10,000 running calls", expiry(), "ms"),
    ]


def metering(directory: Path) -> list[dict[str, Any]]:
    bare = bare_commit_us(directory)
    sound = event()
    figures = [
        figure("usage event, made and checked, CPU", best_us(lambda _number: void(event()), 5_000), "us"),
        figure("usage event, packed, CPU", best_us(lambda _number: void(sound.pack()), 5_000), "us"),
        figure("one bare durable write, p50", bare, "us"),
    ]
    for callers in (1, 16, 64, 256):
        found = uvloop.run(recording(directory, callers, 4_000))
        who = f"{callers} at once: " if callers > 1 else "one caller: "
        figures += [
            figure(who + "durable events", found["events_per_s"], "/s"),
            figure(who + "until durable, p50", found["p50_us"], "us"),
            figure(who + "until durable, p99", found["p99_us"], "us"),
            figure(who + "durable and booked, CPU an event", found["cpu_us_per_event_booked"], "us"),
        ]
        if callers == 1:
            figures.append(figure("one caller: p50 / bare durable write", found["p50_us"] / bare, "x"))
    return figures


def void(_value: object) -> None:
    """Take a value and return nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--directory", type=Path, help="where to write (a real disk, not memory)")
    parser.add_argument("--idle", type=int, default=IDLE, help="so many idle tenants (a million take 2 min)")
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        figures = governing(given.idle) + metering(Path(directory))
    if given.json:
        print(json.dumps({"figures": figures}))
    for one in () if given.json else figures:
        bound = f"(bound {one['bound']})" if one["bound"] is not None else ""
        print(f"{one['name']:<48} {one['value']:>12,} {one['unit']:<4} {bound}")
    sys.exit(any(one["bound"] is not None and one["value"] > one["bound"] for one in figures))


if __name__ == "__main__":
    main()
