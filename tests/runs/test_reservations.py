"""Runs and their tenant's token budget: set aside at the start, given back however the run ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from insula.governance.ledger import Budget, Ledgers, LedgerStanding
from insula.kernel.clock import SystemClock
from insula.runs import RunService, RunState, carrier
from insula.runs.reservations import LedgerReservations

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
LIMIT = 100_000


class Money:
    """The world's service over real ledgers."""

    def __init__(self, world: Any, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.budgets = {"acme": Budget(LIMIT)}
        self.ledgers = self._open()
        self.restart()

    def _open(self) -> Ledgers:
        return Ledgers(self.directory, SystemClock(), self.budgets.get)

    def restart(self) -> RunService:
        parts = replace(self.world.build()._parts, reservations=LedgerReservations(self.ledgers))
        self.world.service = RunService(parts)
        return self.world.service

    def die(self) -> None:
        """What a crash leaves: no reservation was closed by anybody."""
        self.ledgers._chronicle.close()
        self.ledgers = self._open()

    def standing(self) -> LedgerStanding:
        found = self.ledgers.standing("acme")
        assert found is not None
        return found

    async def settled(self) -> LedgerStanding:
        """Where the tenant stands when no reservation is left."""
        async with asyncio.timeout(10):
            while self.standing().tasks:
                await asyncio.sleep(0.01)
        return self.standing()

    async def tasks(self) -> tuple[Any, ...]:
        """The reservations, as soon as there are any."""
        async with asyncio.timeout(10):
            while not self.standing().tasks:
                await asyncio.sleep(0.01)
        return self.standing().tasks

    def call(self, run: str, tokens: int) -> None:
        self.ledgers.hold("acme", f"call of {run}", run, tokens, tokens)
        self.ledgers.settle("acme", f"call of {run}", tokens)


@pytest.fixture
def money(world: Any, tmp_path: Path) -> Iterator[Money]:
    made = Money(world, tmp_path / "ledgers")
    yield made
    made.ledgers._chronicle.close()


def test_a_run_sets_tokens_aside_draws_on_them_and_gives_the_rest_back(
    world: Any, live: Any, money: Money
) -> None:
    async def main() -> None:
        world.deploy("import time; print('up', flush=True); time.sleep(0.5)")
        async with live() as service:
            view = await service.submit(world.context(), "hello", b"")
            await world.running(view.run)
            (task,) = money.standing().tasks
            assert (task.rid, task.agent, task.granted) == (view.run, "hello", 50_000)
            money.call(view.run, 1_200)
            assert money.standing().tasks[0].used == 1_200
            assert (await world.ended(view.run)).state is RunState.SUCCEEDED
            standing = await money.settled()
            assert (standing.settled, standing.free) == (1_200, LIMIT - 1_200)
            assert money.ledgers.want("acme", "hello") == (1_200, 120), "the next run sets less aside"
            why = await service.why(world.context(), view.run)
            assert any("50000 tokens of the tenant's budget were set aside" in line for line in why)

    asyncio.run(main())


ENDS = {
    "fails": ("raise SystemExit(3)", "", RunState.FAILED),
    "dies": ("import os; os.kill(os.getpid(), 11)", "", RunState.FAILED),
    "late": (SLEEP, "[limits]\ntimeout_s = 0.3", RunState.TIMED_OUT),
    "cancelled": (SLEEP, "", RunState.CANCELLED),
    "strange": ("print(1)", 'runtime = "cobol"', RunState.REFUSED),
    "homeless": ("print(1)", "", RunState.REFUSED),
}


def test_however_a_run_ends_nothing_stays_set_aside(world: Any, live: Any, money: Money) -> None:
    async def end(service: RunService, name: str, state: RunState) -> None:
        view = await service.submit(world.context(), name, b"")
        if name == "cancelled":
            await world.running(view.run)
            await service.cancel(world.context(), view.run)
        assert (await world.ended(view.run)).state is state
        assert (await money.settled()).free == LIMIT
        assert money.ledgers.want("acme", name) == (50_000, 1), "it taught nothing"

    async def main() -> None:
        async with live() as service:
            for name, (code, manifest, state) in ENDS.items():
                world.deploy(code, manifest, name)
                world.host.unavailable = name == "homeless"
                await end(service, name, state)

    asyncio.run(main())


def test_a_run_without_tokens_waits_and_leaves_its_slot(
    world: Any, live: Any, money: Money, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "_TOKENS_PAUSE_S", 0.05)

    async def main() -> None:
        world.deploy("print('done')")
        async with live() as service:
            money.ledgers.open("acme", "somebody", "else", LIMIT, 1)
            view = await service.submit(world.context(), "hello", b"")
            async for event in service.follow(world.context(), view.run):
                if event.data.get("event") == "waiting_for_tokens":
                    break
            waiting = await service.get(world.context(), view.run)
            assert waiting.state is RunState.QUEUED
            async with asyncio.timeout(10):
                while service._carrier.gate.held:
                    await asyncio.sleep(0.01)  # no slot is held meanwhile
            impatient = await service.submit(world.context(), "hello", b"")
            assert (await service.cancel(world.context(), impatient.run)).state is RunState.CANCELLED
            money.ledgers.close("acme", "somebody")
            assert (await world.ended(view.run)).state is RunState.SUCCEEDED

    asyncio.run(main())


def test_no_run_starts_without_tokens_and_each_says_why(
    world: Any, live: Any, money: Money, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "TOKENS_PATIENCE_S", 0.0)

    async def main() -> None:
        world.deploy("print('done')")
        async with live():
            money.ledgers.open("acme", "somebody", "else", LIMIT, 1)
            view = await world.run()
            assert (view.state, view.cause) == (RunState.REFUSED, "budget_reserved")
            assert "100000 tokens set aside by runs" in (view.reason or "") and view.hint
            money.ledgers.close("acme", "somebody")
            money.call("nobody", LIMIT)
            view = await world.run()
            assert (view.state, view.cause) == (RunState.REFUSED, "budget_exhausted")
            assert "100000 of 100000 tokens" in (view.reason or "") and "next period" in (view.hint or "")

    asyncio.run(main())


def test_a_tenant_without_a_budget_runs_as_before(world: Any, live: Any, money: Money) -> None:
    async def main() -> None:
        world.deploy("print('done')", tenant="zeta")
        async with live() as service:
            view = await service.submit(world.context("zeta"), "hello", b"")
            assert (await world.ended(view.run, "zeta")).state is RunState.SUCCEEDED
            assert money.ledgers.totals().ledgers == 0

    asyncio.run(main())


def test_what_a_dead_platform_left_is_closed_when_the_run_has_ended(
    world: Any, live: Any, money: Money
) -> None:
    async def main() -> None:
        money.ledgers.open("acme", "run_that_ended", "hello", 10_000, 1)
        money.die()
        money.restart()
        async with live():
            assert money.standing().tasks == ()

    asyncio.run(main())


def test_a_run_that_is_taken_up_sets_tokens_aside_again(world: Any, live: Any, money: Money) -> None:
    async def main() -> None:
        world.deploy("import time; print('up', flush=True); time.sleep(0.6)", "[limits]\ntokens = 7000")
        async with live() as service:
            view = await service.submit(world.context(), "hello", b"")
            await world.running(view.run)
            assert money.standing().tasks[0].granted == 7_000, "the agent says what it needs"
            money.call(view.run, 300)
        assert (await money.settled()).free == LIMIT - 300, "a drain gives back"
        money.die()
        money.restart()
        async with live():
            (task,) = await money.tasks()
            assert (task.rid, task.used) == (view.run, 0)
            ended = await world.ended(view.run)
            assert (ended.state, ended.attempt) == (RunState.SUCCEEDED, 2)
            assert (await money.settled()).free == LIMIT - 300

    asyncio.run(main())


def test_a_reservation_that_outlived_its_platform_goes_on(world: Any, live: Any, money: Money) -> None:
    async def main() -> None:
        world.deploy("import time; print('up', flush=True); time.sleep(0.6)")
        async with live() as service:
            view = await service.submit(world.context(), "hello", b"")
            await world.running(view.run)
        money.ledgers.open("acme", view.run, "hello", 9_000, 1, seq=77)
        money.die()
        money.restart()
        async with live():
            assert [task.granted for task in await money.tasks()] == [9_000]
            await world.ended(view.run)
            assert (await money.settled()).free == LIMIT

    asyncio.run(main())


def test_a_ledger_that_cannot_be_written_starts_nothing(
    world: Any, live: Any, money: Money, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        world.deploy("print('done')")
        money.ledgers.has("acme")
        async with live():
            money.ledgers._chronicle.behind = True
            view = await world.run()
            assert view.state is RunState.FAILED and "ledger cannot be written" in (view.reason or "")
            assert view.attempt == 0 and view.hint

    asyncio.run(main())
