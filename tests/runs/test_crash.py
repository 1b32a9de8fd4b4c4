"""``kill -9`` at every point of a run: the next platform brings it to one end, and nothing is left."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from insula.runs.failpoints import POINTS

SHORT = ("index_written", "sandbox_launched", "before_final_write")


def _dies(root: Path, point: str, manifest: str = "") -> None:
    script = Path(__file__).with_name("world.py")
    died = subprocess.run(
        [sys.executable, str(script), str(root), point, manifest], timeout=60, capture_output=True
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()[-2000:]


def _strays(root: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(root / "host")):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            continue
    return found


async def _after(root: Path, module: Any) -> tuple[Any, list[Any], Any]:
    """Start again; return the end of the run, its journal, and the answer to the repeated request."""
    world = module.make(root)
    await world.service.start()
    try:
        page = await world.service.list(world.context())
        assert len(page.items) == 1
        async with asyncio.timeout(20):
            view = await world.ended(page.items[0].run)
            while not (await world.service.list(world.context())).items[0].state.terminal:
                await asyncio.sleep(0.01)
        events = await world.service.journal(world.context(), view.run)
        again = await world.service.submit(world.context(), "hello", b"", idempotency_key="crash")
        if again.run != view.run:
            again = await world.ended(again.run)
        assert world.host.doors == 0
        return view, list(events), again
    finally:
        await world.service.stop()
        world.ground.close()


@pytest.mark.parametrize(
    "point",
    [point if point in SHORT else pytest.param(point, marks=pytest.mark.slow) for point in POINTS],
)
def test_a_killed_platform_leaves_one_end(tmp_path: Path, point: str) -> None:
    module = sys.modules["runs_world"]
    _dies(tmp_path, point)
    view, events, again = asyncio.run(_after(tmp_path, module))
    ends = [event for event in events if event.final]
    if point == "index_written":
        # The caller never heard of this run, so its key is free again.
        assert (view.state, view.cause) == ("failed", "never_stored") and not events
        assert again.run != view.run and again.state == "succeeded"
    else:
        assert view.state == "succeeded" and len(ends) == 1 and events[-1].final
        assert again.run == view.run
        assert view.output == "begun\nended\n"
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert _strays(tmp_path) == []


@pytest.mark.parametrize("point", ["sandbox_launched", pytest.param("admitted", marks=pytest.mark.slow)])
def test_an_agent_that_must_not_start_twice_fails_with_a_reason(tmp_path: Path, point: str) -> None:
    module = sys.modules["runs_world"]
    _dies(tmp_path, point, 'recovery = "fail"')
    view, events, _again = asyncio.run(_after(tmp_path, module))
    assert (view.state, view.cause, view.attempt) == ("failed", "interrupted", 1)
    assert "started twice" in view.reason and "restart" in view.hint
    assert len([event for event in events if event.final]) == 1


@pytest.mark.slow
def test_a_run_that_always_kills_the_platform_is_given_up(tmp_path: Path) -> None:
    module = sys.modules["runs_world"]
    for _ in range(3):
        _dies(tmp_path, "output_flowing")
    view, _events, _again = asyncio.run(_after(tmp_path, module))
    assert (view.state, view.cause, view.attempt) == ("failed", "interrupted", 3)
    assert "3 times" in view.reason


def test_a_cancel_survives_the_platform(tmp_path: Path) -> None:
    module = sys.modules["runs_world"]

    async def cancelled_then_gone() -> str:
        world = module.make(tmp_path)
        world.deploy("import time; print('up', flush=True); time.sleep(60)")
        await world.service.start()
        view = await world.service.submit(world.context(), "hello", b"")
        await world.running(view.run)
        book = await world.service._book(world.context())
        book.request_cancel(view.run)  # the wish is on the disk, and then the platform ends
        await world.service.stop()
        assert world.host.clean()
        world.ground.close()
        return str(view.run)

    run = asyncio.run(cancelled_then_gone())

    async def next_platform() -> Any:
        world = module.make(tmp_path)
        await world.service.start()
        view = await world.ended(run)
        await world.service.stop()
        world.ground.close()
        return view

    assert asyncio.run(next_platform()).state == "cancelled"


def test_what_a_drain_leaves_is_taken_up(tmp_path: Path) -> None:
    module = sys.modules["runs_world"]

    async def drained() -> str:
        world = module.make(tmp_path)
        world.deploy("import time; print('up', flush=True); time.sleep(1)")
        await world.service.start()
        view = await world.service.submit(world.context(), "hello", b"")
        await world.running(view.run)
        await world.service.drain(0.05)
        await world.service.stop()
        assert world.host.clean()
        world.ground.close()
        return str(view.run)

    async def next_platform(run: str) -> tuple[Any, Any]:
        world = module.make(tmp_path)
        await world.service.start()
        view = await world.ended(run)
        why = await world.service.why(world.context(), view.run)
        await world.service.stop()
        world.ground.close()
        return view, why

    view, why = asyncio.run(next_platform(asyncio.run(drained())))
    assert (view.state, view.attempt) == ("succeeded", 2)
    assert any("shutting down" in line for line in why) and any("taken up again" in line for line in why)
