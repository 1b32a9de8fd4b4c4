"""Agents at work: runs take a sandbox, make their calls in order, wait for tools, people and sub-agents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from insula.governance.fairness import Item, Lane
from insula.simulation.call import Call
from insula.simulation.measure import Measures
from insula.simulation.station import Station
from insula.simulation.timeline import Timeline
from insula.simulation.work import SECOND_US, Run

ATTEMPTS = 3


class Reservations(Protocol):
    """The tenants' ledgers, as runs see them."""

    def open(self, run: Run) -> bool: ...
    def waiting(self, run: Run) -> None: ...
    def resumed(self, run: Run) -> None: ...
    def close(self, run: Run) -> None: ...


@dataclass(slots=True)
class _Task:
    """A run on its way. ``active`` steps work or wait for the model, ``people`` steps wait for a person."""

    run: Run
    missing: list[int]
    next_of: list[list[int]]
    active: int = 0
    people: int = 0
    left: int = 0
    holds_since_us: int | None = None
    turns: int = 0
    asked_us: int = 0
    waited_us: int = 0
    ready: list[int] = field(default_factory=list)
    answered: set[int] = field(default_factory=set)
    over: bool = False


class Driver:
    """Plays every run of a workload. ``call`` is given each model call when it is time for it."""

    def __init__(
        self,
        timeline: Timeline,
        measures: Measures,
        call: Callable[[Call], None],
        reservations: Reservations | None,
    ) -> None:
        self._timeline = timeline
        self._measures = measures
        self._call = call
        self._reservations = reservations
        self._calls = 0
        self.sandboxes: Station

    def arrive(self, run: Run) -> None:
        """Start a run: in a sandbox, when it has a turn, or at once if it needs none."""
        self._measures.runs += 1
        missing = [len(step.needs) for step in run.steps]
        next_of: list[list[int]] = [[] for _ in run.steps]
        for number, step in enumerate(run.steps):
            for need in step.needs:
                next_of[need].append(number)
        ready = [number for number, count in enumerate(missing) if not count]
        task = _Task(run, missing, next_of, left=len(run.steps), ready=ready)
        if not run.sandboxed:
            self._go_on(task)
        elif self._reservations is not None and not self._reservations.open(run):
            self._measures.refused_runs += 1
        else:
            self._want_sandbox(task)

    def start(self, item: Item) -> bool:
        """Give a run the sandbox slot it waited for."""
        task: _Task = item.payload
        task.holds_since_us = self._timeline.now_us
        task.waited_us += self._timeline.now_us - task.asked_us
        if task.turns > 1 and self._reservations is not None:
            self._reservations.resumed(task.run)
        self._timeline.after(0, self._go_on, task)
        return True

    def _want_sandbox(self, task: _Task) -> None:
        run = task.run
        task.turns += 1
        task.asked_us = self._timeline.now_us
        lane = Lane.BATCH if run.batch else Lane.INTERACTIVE
        self.sandboxes.submit(
            Item(f"{run.id}/{task.turns}", run.tenant, run.agent, lane, _slot_us(run), task)
        )

    def _go_on(self, task: _Task) -> None:
        """Take up every step that is ready."""
        ready, task.ready = task.ready, []
        for number in ready:
            self._take_up(task, number)
        self._rest_if_idle(task)

    def _take_up(self, task: _Task, number: int) -> None:
        step = task.run.steps[number]
        if step.human_us and number not in task.answered:
            task.people += 1
            self._timeline.after(step.human_us, self._answered, task, number)
        else:
            self._use_tool(task, number)

    def _answered(self, task: _Task, number: int) -> None:
        if task.over:
            return
        task.people -= 1
        task.answered.add(number)
        if task.run.sandboxed and task.holds_since_us is None:
            task.ready.append(number)
            if len(task.ready) == 1:
                self._want_sandbox(task)
        else:
            self._use_tool(task, number)

    def _use_tool(self, task: _Task, number: int) -> None:
        task.active += 1
        self._timeline.after(task.run.steps[number].tool_us, self._ask, task, number, 1)

    def _ask(self, task: _Task, number: int, attempt: int) -> None:
        if task.over:
            return
        step = task.run.steps[number]
        self._calls += 1

        def done(call: Call, how: str) -> None:
            task.waited_us += call.started_us - call.asked_us if how != "refused" else 0
            if how == "crashed" and attempt < ATTEMPTS:
                self._measures.retries += 1
                self._timeline.after(SECOND_US, self._ask, task, number, attempt + 1)
            else:
                self._timeline.after(0, self._answered_by_model, task, number, how)

        self._call(Call(f"c{self._calls}", task.run, step, step.output, self._timeline.now_us, done))

    def _answered_by_model(self, task: _Task, number: int, how: str) -> None:
        if task.over:
            return
        task.active -= 1
        task.left -= 1
        if how != "ok" or task.left == 0:
            self._end(task, failed=how != "ok")
            return
        for following in task.next_of[number]:
            task.missing[following] -= 1
            if not task.missing[following]:
                self._take_up(task, following)
        self._rest_if_idle(task)

    def _rest_if_idle(self, task: _Task) -> None:
        """Give the sandbox back, and lend the reservation, while only people are waited for."""
        if task.run.sandboxed and task.people and not task.active and task.holds_since_us is not None:
            self._leave_sandbox(task)
            if self._reservations is not None:
                self._reservations.waiting(task.run)

    def _end(self, task: _Task, *, failed: bool) -> None:
        task.over = True
        if failed:
            self._measures.failed_runs += 1
        else:
            self._measures.waited(task.run.tenant, task.waited_us)
        if task.holds_since_us is not None:
            self._leave_sandbox(task)
        if task.run.sandboxed and self._reservations is not None:
            self._reservations.close(task.run)

    def _leave_sandbox(self, task: _Task) -> None:
        assert task.holds_since_us is not None
        run, held_us = task.run, max(1, self._timeline.now_us - task.holds_since_us)
        task.holds_since_us = None
        estimate = _slot_us(run)
        self.sandboxes.settle(f"{run.id}/{task.turns}", run.tenant, estimate, estimate, held_us)
        self.sandboxes.release()


def _slot_us(run: Run) -> int:
    """Return how long a run is expected to hold a sandbox: its tools, and some seconds for each call."""
    return sum(step.tool_us for step in run.steps) + 10 * SECOND_US * len(run.steps)
