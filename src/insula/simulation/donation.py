"""What lending is worth: the same tasks on one tenant's budget, with and without donation.

150 tasks each reserve one and a half times what they need. Half of them stop in the middle for 300 seconds,
waiting for a person. What they hold meanwhile is of no use to them; the others may be refused for it.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass

from insula.governance.ledger import Drawn, Opened, State, TenantLedger
from insula.simulation.ledgers import CAUTION, NEVER_IDLE_US
from insula.simulation.work import SECOND_US

TASKS, DRAWS = 150, 20
WAIT_US = 300 * SECOND_US
SPREAD_US = 200 * SECOND_US
BUDGETS = (150_000, 200_000, 230_000)


@dataclass(frozen=True, slots=True)
class Task:
    """``draws`` are ``(time, tokens)``; before the draw ``waits_before`` it waits for a person."""

    name: str
    draws: tuple[tuple[int, int], ...]
    waits_before: int | None

    @property
    def need(self) -> int:
        """What it uses in all."""
        return sum(tokens for _, tokens in self.draws)


@dataclass(slots=True)
class Count:
    """Draws asked and refused; ``early`` ones were refused while less than 80 % of the budget was spent."""

    asked: int = 0
    refused: int = 0
    early: int = 0
    donated: int = 0


def tasks(seed: int) -> list[Task]:
    """Return the tasks of a seed: about 1,250 tokens each, in 20 draws, over some ten minutes."""
    rng = random.Random(f"donation/{seed}")  # noqa: S311 - replayable on purpose
    return [_task(f"task{number}", rng) for number in range(TASKS)]


def play(work: list[Task], budget: int, *, donation: bool) -> Count:
    """Let the tasks use a budget, in the order of time; a draw that is refused is not tried again."""
    idle = {} if donation else {"idle_us": NEVER_IDLE_US}
    ledger, count = TenantLedger("2026-11", budget, **idle), Count()
    events = [event for task in work for event in _events(task, ledger, count, donation, budget)]
    heapq.heapify(events)
    ticked_us = 0
    while events:
        now_us, _, _, act = heapq.heappop(events)
        if now_us - ticked_us >= SECOND_US:
            ticked_us = now_us
            ledger.tick(now_us)
        act(now_us)
    count.donated = ledger.book.totals.donated
    return count


def compare(seeds: range, budget: int = 200_000) -> dict[str, float | int]:
    """Return the share of draws refused over several seeds, without and with donation, and their ratio."""
    without, having = Count(), Count()
    for seed in seeds:
        work = tasks(seed)
        _add(without, play(work, budget, donation=False))
        _add(having, play(work, budget, donation=True))
    return {
        "budget": budget,
        "draws": without.asked,
        "refused_without": without.refused,
        "refused_with": having.refused,
        "early_without": without.early,
        "early_with": having.early,
        "donated": having.donated,
        "ratio": round(having.refused / without.refused, 4) if without.refused else 0.0,
    }


Event = tuple[int, str, int, Callable[[int], None]]


def _events(task: Task, ledger: TenantLedger, count: Count, donation: bool, budget: int) -> list[Event]:
    """Return what a task does, each with its time; the name and number keep equal times in order."""
    opened: list[bool] = []
    want = task.need * CAUTION[0] // CAUTION[1]

    def begin(now_us: int) -> None:
        opened.append(isinstance(ledger.open(task.name, want, 1, now_us), Opened))

    def pause(now_us: int) -> None:
        if donation and opened[0]:
            ledger.waiting(task.name, State.WAITING_HUMAN, now_us)

    def draw(tokens: int) -> Callable[[int], None]:
        def act(now_us: int) -> None:
            count.asked += 1
            if not isinstance(ledger.draw(task.name, tokens, now_us), Drawn):
                count.refused += 1
                count.early += 10 * ledger.book.settled < 8 * budget

        return act

    def end(now_us: int) -> None:
        ledger.close(task.name, now_us)

    events: list[Event] = [(task.draws[0][0] - 1, task.name, 0, begin)]
    for number, (at_us, tokens) in enumerate(task.draws):
        if number == task.waits_before:
            events.append((at_us - WAIT_US, task.name, 2 * number + 1, pause))
        events.append((at_us, task.name, 2 * number + 2, draw(tokens)))
    events.append((task.draws[-1][0] + 1, task.name, 2 * DRAWS + 2, end))
    return events


def _task(name: str, rng: random.Random) -> Task:
    at_us = 1 + rng.randrange(SPREAD_US)
    waits_before = rng.randrange(DRAWS // 4, 3 * DRAWS // 4) if rng.random() < 0.5 else None
    each = rng.randint(25, 100)
    draws = []
    for number in range(DRAWS):
        at_us += rng.randrange(1, 10 * SECOND_US) + (WAIT_US if number == waits_before else 0)
        draws.append((at_us, max(1, each + rng.randint(-each // 5, each // 5))))
    return Task(name, tuple(draws), waits_before)


def _add(total: Count, one: Count) -> None:
    total.asked += one.asked
    total.refused += one.refused
    total.early += one.early
    total.donated += one.donated
