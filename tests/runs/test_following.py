"""Following a run: every line once and in order, however late or slow; text whole; clear files clean."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from insula.runs import RunEvent

COUNT = "import time\nfor i in range(40): print(i, flush=True); time.sleep(0.005)"


def _numbers(events: list[RunEvent]) -> list[int]:
    return [event.seq for event in events]


def _text(events: list[RunEvent]) -> str:
    return "".join(event.data["text"] for event in events if event.kind == "output")


async def _all(world: Any, run: str, after: int = 0, pause: float = 0.0) -> list[RunEvent]:
    seen = []
    async for event in world.service.follow(world.context(), run, after):
        seen.append(event)
        await asyncio.sleep(pause)
    return seen


def test_no_gap_and_no_repeat_early_late_slow_and_resumed(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(COUNT)
        async with live() as service:
            view = await service.submit(world.context(), "hello", b"")
            early, slow = (
                asyncio.create_task(_all(world, view.run)),
                asyncio.create_task(_all(world, view.run, pause=0.02)),
            )
            await asyncio.sleep(0.1)
            late = asyncio.create_task(_all(world, view.run))
            whole = await early
            resumed = await _all(world, view.run, after=5)
            for seen in (whole, await slow, await late):
                assert _numbers(seen) == list(range(1, len(whole) + 1))
                assert _text(seen) == "".join(f"{i}\n" for i in range(40))
                assert [event.final for event in seen].count(True) == 1 and seen[-1].final
            assert resumed == whole[5:]
            states = [event.data["state"] for event in whole if event.kind == "state"]
            assert states == ["queued", "admitted", "running", "succeeded"]

    asyncio.run(main())


def test_output_is_shown_while_the_agent_runs(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy("import time; print('up', flush=True); time.sleep(60)")
        async with live() as service:
            view = await service.submit(world.context(), "hello", b"")
            async with asyncio.timeout(10):
                await world.running(view.run)
            assert (await service.get(world.context(), view.run)).state == "running"
            page = await service.list(world.context())
            assert page.items[0].state == "running"
            await service.cancel(world.context(), view.run)

    asyncio.run(main())


def test_bytes_that_are_no_text_and_characters_cut_in_two(world: Any, live: Any) -> None:
    code = (
        "import os, time\nfor part in (b'\\xe2', b'\\x82', b'\\xac', b'\\xff', b'!'):"
        " os.write(1, part); time.sleep(0.02)"
    )

    async def main() -> None:
        world.deploy(code)
        async with live():
            assert (await world.run()).output == "€\N{REPLACEMENT CHARACTER}!"

    asyncio.run(main())


def test_an_agent_that_writes_byte_by_byte_does_not_make_a_line_of_every_byte(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy("import os\nfor i in range(20000): os.write(1, b'x')")
        async with live() as service:
            view = await world.run()
            assert view.output == "x" * 20000
            assert len(await service.journal(world.context(), view.run)) < 1500

    asyncio.run(main())


def test_standard_error_is_kept_apart(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy("import sys; print('out'); print('err', file=sys.stderr)")
        async with live():
            view = await world.run()
            assert (view.output, view.errors) == ("out\n", "err\n")

    asyncio.run(main())


def test_why_tells_the_decisions_in_order(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy("raise SystemExit(3)")
        async with live() as service:
            view = await world.run()
            told = "\n".join(await service.why(world.context(), view.run))
            order = (
                "is failed",
                "asks for bubblewrap",
                "time limit",
                "waited",
                "backend none",
                "ended",
                "next:",
            )
            places = [told.index(words) for words in order]
            assert places == sorted(places)
            assert "status 3" in told

    asyncio.run(main())


@pytest.mark.parametrize("name", ["control.db", "durable.db"])
def test_clear_files_hold_nothing_of_the_tenant(world: Any, live: Any, name: str) -> None:
    async def main() -> None:
        world.deploy("import sys; print('CANARY-OUT', sys.stdin.read()); raise SystemExit('CANARY-ERR')")
        async with live():
            view = await world.run(b"CANARY-IN", idempotency_key="CANARY-KEY")
            assert "CANARY-IN" in view.output and "CANARY-ERR" in view.errors

    asyncio.run(main())
    for path in world.home.glob(f"{name}*"):
        assert b"CANARY" not in path.read_bytes(), path
