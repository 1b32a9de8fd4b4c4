"""What lending while idle is worth to a tenant with a budget, and how fast the ledger decides.

python -m benchmarks.ledger [--json] [--directory DIR]

150 tasks share one budget; each sets one and a half times aside of what it will need, and half of them wait
300 ticks for a human in the middle. A task is refused when it cannot set aside what it will need, or later
cannot draw. CPU figures are the best of several windows, in the time of this process.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from insula.governance.ledger import Budget, Drawn, Ledgers, Opened, State, TenantLedger
from insula.kernel.clock import SystemClock

TASKS, HUMAN_TICKS, DRAWS, DRAW_TICKS = 150, 300, 20, 2
NEED_LEAST, NEED_MOST = 500, 2_100
SEEDS = 20
TICK_US = 1_000_000
NEVER_US = 10**18
REFUSED_RATIO_MAX = 0.10
WINDOWS, PAIRS = 5, 10_000


@dataclass
class Tally:
    """Of so many tasks: refused at the start, refused later, and refused while a fifth was still unspent."""

    tasks: int = 0
    at_start: int = 0
    midway: int = 0
    early: int = 0

    @property
    def refused_percent(self) -> float:
        return 100 * (self.at_start + self.midway) / self.tasks

    @property
    def start_percent(self) -> float:
        return 100 * self.at_start / self.tasks

    @property
    def early_percent(self) -> float:
        return 100 * self.early / self.tasks


class Day:
    """One seeded day of a tenant. Without lending, idle tasks keep what they have."""

    def __init__(self, seed: int, limit: int, lending: bool, tally: Tally) -> None:
        rng = random.Random(seed)
        self.ledger = TenantLedger("day", limit, idle_us=20 * TICK_US if lending else NEVER_US)
        self.limit, self.lending, self.tally = limit, lending, tally
        self.need = [rng.randrange(NEED_LEAST, NEED_MOST) for _ in range(TASKS)]
        self.human = [rng.random() < 0.5 for _ in range(TASKS)]
        self.events: list[tuple[int, int, int]] = []
        at = 0
        for task in range(TASKS):
            at += rng.randrange(1, 4)
            self.events.append((at, task, 0))

    def run(self) -> None:
        while self.events:
            at, task, step = heapq.heappop(self.events)
            after = self._begin(at, task) if step == 0 else self._draw(at, task, step)
            if after is not None:
                heapq.heappush(self.events, (at + after, task, step + 1))

    def _begin(self, at: int, task: int) -> int | None:
        self.tally.tasks += 1
        need = self.need[task]
        answer = self.ledger.open(str(task), need * 3 // 2, need, at * TICK_US, ttl_us=NEVER_US)
        if isinstance(answer, Opened):
            return DRAW_TICKS
        self.tally.at_start += 1
        self._note_early()
        return None

    def _draw(self, at: int, task: int, step: int) -> int | None:
        answer = self.ledger.draw(str(task), self.need[task] // DRAWS, at * TICK_US)
        refused = not isinstance(answer, Drawn)
        if refused:
            self.tally.midway += 1
            self._note_early()
        if refused or step == DRAWS:
            self.ledger.close(str(task), at * TICK_US)
            return None
        if step == DRAWS // 2 and self.human[task]:
            if self.lending:
                self.ledger.waiting(str(task), State.WAITING_HUMAN, at * TICK_US)
            return HUMAN_TICKS
        return DRAW_TICKS

    def _note_early(self) -> None:
        self.tally.early += self.ledger.book.settled * 5 < self.limit * 4


def refusals(limit: int, lending: bool) -> Tally:
    tally = Tally()
    for seed in range(SEEDS):
        Day(seed, limit, lending, tally).run()
    return tally


def best_us(action: Callable[[int], None], count: int) -> float:
    """Return the least CPU microseconds per call of ``action`` over a few windows."""
    best = float("inf")
    for window in range(WINDOWS):
        start = time.process_time()
        for number in range(window * count, (window + 1) * count):
            action(number)
        best = min(best, (time.process_time() - start) / count * 1e6)
    return best


def figure(name: str, value: float, unit: str, bound: float | None = None) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "unit": unit, "bound": bound}


def lending() -> list[dict[str, Any]]:
    figures = []
    for limit in (150_000, 200_000, 230_000):
        without, having = refusals(limit, False), refusals(limit, True)
        told = f"{limit:,} tokens, "
        for name, tally in (("without", without), ("with", having)):
            figures += [
                figure(f"{told}{name} lending: refused", tally.refused_percent, "%"),
                figure(f"{told}{name} lending: at their start", tally.start_percent, "%"),
                figure(f"{told}{name} lending: before 80 % was used", tally.early_percent, "%"),
            ]
        bound = REFUSED_RATIO_MAX if limit == 200_000 else None
        ratio = having.refused_percent / without.refused_percent
        figures.append(figure(f"{told}refused with / without", ratio, "x", bound))
    return figures


def deciding() -> list[dict[str, Any]]:
    """Calls of one task among 100 open ones, and what time and a snapshot cost."""
    one = TenantLedger("day", 10**15)
    for number in range(100):
        one.open(f"r{number}", 10**9, 1, 0)

    def pair(number: int) -> None:
        one.hold(str(number), f"r{number % 100}", 500, 100, number)
        one.settle(str(number), 400, number)

    def life(number: int) -> None:
        one.open(f"t{number}", 1_000, 1, number)
        one.close(f"t{number}", number)

    pairs, lives = best_us(pair, PAIRS), best_us(life, PAIRS)
    return [
        figure("hold + settle, 100 tasks open, CPU", pairs, "us"),
        figure("hold + settle, 100 tasks open", 1e6 / pairs, "/s"),
        figure("open + close, CPU", lives, "us"),
        figure("is a tick due, 100 tasks open, CPU", best_us(lambda _n: void(one.due(0)), 1_000), "us"),
        figure("snapshot, 100 tasks open, CPU", best_us(lambda _n: void(one.snapshot()), 5), "us"),
    ]


def journaled(directory: Path) -> list[dict[str, Any]]:
    ledgers = Ledgers(directory, SystemClock(), lambda _tenant: Budget(10**15))
    ledgers.open("acme", "run", "agent", 10**12, 1)

    def pair(number: int) -> None:
        ledgers.hold("acme", str(number), "run", 500, 100, sure=100)
        ledgers.settle("acme", str(number), 400)

    pairs = best_us(pair, PAIRS)
    ledgers.stop()
    start = time.perf_counter()
    Ledgers(directory, SystemClock(), lambda _tenant: Budget(10**15)).stop()
    return [
        figure("hold + settle, journaled, CPU", pairs, "us"),
        figure("hold + settle, journaled", 1e6 / pairs, "/s"),
        figure("open and stop again", (time.perf_counter() - start) * 1e3, "ms"),
    ]


def void(_value: object) -> None:
    """Take a value and return nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--directory", type=Path, help="where to write (a real disk, not memory)")
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        figures = lending() + deciding() + journaled(Path(directory))
    if given.json:
        print(json.dumps({"figures": figures}))
    for one in () if given.json else figures:
        bound = f"(bound {one['bound']})" if one["bound"] is not None else ""
        print(f"{one['name']:<58} {one['value']:>12,} {one['unit']:<4} {bound}")
    sys.exit(any(one["bound"] is not None and one["value"] > one["bound"] for one in figures))


if __name__ == "__main__":
    main()
