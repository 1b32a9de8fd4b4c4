"""A run's life, from submission to its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from insula.kernel.errors import ConflictError, Denied, Draining, InvalidRequest, NotFound, TooLarge
from insula.kernel.ids import RunId, TenantId
from insula.runs import RunState

HELLO = "import sys; print('hello', sys.stdin.read()); open('result.json','w').write('{\"answer\": 42}')"
SLEEP = "import time; print('up', flush=True); time.sleep(60)"


def test_a_run_succeeds_and_tells_everything(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        async with live():
            view = await world.run(b"world")
            told = view.to_json()
            assert (told["state"], told["exit_code"], told["output"]) == ("succeeded", 0, "hello world\n")
            assert told["result"] == {"answer": 42}
            assert told["workspace_destroyed"] and told["backend"] == "none" and told["attempt"] == 1
            assert told["reason"] == "the agent finished"
            assert world.host.clean()

    asyncio.run(main())


def test_whoever_watches_hears_of_each_end_once(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        world.deploy("raise SystemExit(3)", name="sad")
        async with live() as service:
            good = await world.run()
            bad = await world.ended((await service.submit(world.context(), "sad", b"")).run)
        first, second = world.told
        assert (first.run, first.tenant, first.agent, first.failure) == (good.run, "acme", "hello", None)
        assert (first.began_at, first.ended_at) == (good.created_at, good.finished_at)
        assert (second.run, second.failure) == (bad.run, "exit_status")

    asyncio.run(main())


def test_a_run_keeps_its_lane_and_only_one_that_its_tier_has(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        async with live() as service:
            view = await world.run(lane="batch")
            assert view.to_json()["lane"] == "batch" and view.state is RunState.SUCCEEDED
            assert (await world.run()).lane == "interactive"
            with pytest.raises(InvalidRequest, match="lane is 'fast'"):
                await service.submit(world.context(), "hello", b"", lane="fast")
            world.lanes = ("interactive",)
            with pytest.raises(Denied, match="has no batch lane"):
                await service.submit(world.context(), "hello", b"", lane="batch")

    asyncio.run(main())


def test_a_tenants_book_from_before_there_were_lanes_is_read(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        async with live() as service:
            old = await world.run()
        space = world.ground.spaces.open(world.storage())
        space.execute("alter table runs drop column lane")
        world.build()
        async with live() as service:
            assert (await service.get(world.context(), old.run)).lane == "interactive"
            assert (await world.run(lane="batch")).lane == "batch"

    asyncio.run(main())


def test_artifacts_are_kept(world: Any, live: Any) -> None:
    code = "import os; os.mkdir('artifacts'); open('artifacts/a.txt','w').write('kept')"

    async def main() -> None:
        world.deploy(code)
        async with live() as service:
            view = await world.run()
            assert [(a.name, a.bytes) for a in view.artifacts] == [("a.txt", 4)]
            assert await service.artifact(world.context(), view.run, "a.txt") == b"kept"
            with pytest.raises(NotFound):
                await service.artifact(world.context(), view.run, "b.txt")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "cause", "said"),
    [
        ("raise SystemExit(3)", "exit_status", "status 3"),
        ("import os; os.kill(os.getpid(), 11)", "signalled", "SIGSEGV"),
        ("while True: print('x' * 100000)", "output_limit", "more output than its limit"),
    ],
)
def test_an_agent_that_fails_is_reported_with_its_reason(
    world: Any, live: Any, code: str, cause: str, said: str
) -> None:
    async def main() -> None:
        world.deploy(code)
        async with live():
            view = await world.run()
            assert (view.state, view.cause) == (RunState.FAILED, cause)
            assert said in (view.reason or "")
            assert view.hint and view.workspace_destroyed and world.host.clean()

    asyncio.run(main())


def test_the_least_timeout_ends_a_run(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(SLEEP, "[limits]\ntimeout_s = 0.4")
        async with live() as service:
            view = await world.run(timeout_s=50)
            assert view.state is RunState.TIMED_OUT and "0.4 s" in (view.reason or "")
            assert any("set by agent.toml" in line for line in await service.why(world.context(), view.run))
            assert world.host.clean()

    asyncio.run(main())


def test_cancel_while_running_queued_and_ended(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(SLEEP)
        world.slots = 1
        world.build()
        async with live() as service:
            first = await service.submit(world.context(), "hello", b"")
            await world.running(first.run)
            second = await service.submit(world.context(), "hello", b"")
            queued = await service.cancel(world.context(), second.run)
            assert (queued.state, queued.attempt) == (RunState.CANCELLED, 0)
            ended = await service.cancel(world.context(), first.run)
            assert (ended.state, ended.workspace_destroyed) == (RunState.CANCELLED, True)
            again = await service.cancel(world.context(), first.run)
            assert again == ended and world.host.clean()

    asyncio.run(main())


def test_cancel_at_once_after_submission(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(SLEEP)
        async with live() as service:
            views = [await service.submit(world.context(), "hello", b"") for _ in range(5)]
            for view in views:
                await service.cancel(world.context(), view.run)
            ends = [await world.ended(view.run) for view in views]
            assert {end.state for end in ends} == {RunState.CANCELLED}
            assert world.host.clean()

    asyncio.run(main())


def test_nothing_starts_without_the_floor(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        world.host.unavailable = True
        async with live():
            view = await world.run()
            assert (view.state, view.cause) == (RunState.REFUSED, "isolation_unavailable")
            assert view.hint == "apt-get install bubblewrap"
            assert view.started_at is None and not world.host.made

    asyncio.run(main())


def test_a_supervisor_that_is_away_is_waited_for(
    world: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insula.runs.attempt._LAUNCH_PAUSES_S", (0.01, 0.01))

    async def main() -> None:
        world.deploy(HELLO)
        world.host.away = 2
        async with live() as service:
            view = await world.run()
            assert view.state is RunState.SUCCEEDED and world.host.clean()
            assert any("tried again" in line for line in await service.why(world.context(), view.run))
            world.host.away = 3
            view = await world.run()
            assert view.state is RunState.FAILED and "supervisor is away" in (view.reason or "")
            assert world.host.clean()

    asyncio.run(main())


def test_an_unknown_runtime_refuses(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO, 'runtime = "ruby"')
        async with live():
            view = await world.run()
            assert (view.state, view.cause) == (RunState.REFUSED, "runtime_unknown")
            assert "build" in (view.hint or "") and not world.host.made

    asyncio.run(main())


def test_suspension_ends_what_runs_and_refuses_what_waits(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(SLEEP)
        world.slots = 1
        world.build()
        async with live() as service:
            first = await service.submit(world.context(), "hello", b"")
            await world.running(first.run)
            second = await service.submit(world.context(), "hello", b"")
            while service._carrier.gate.waiting(TenantId("acme")) == 0:
                await asyncio.sleep(0.01)
            world.ground.registry.suspend(TenantId("acme"))
            assert await service.cancel_all(TenantId("acme")) <= 2
            world.ground.registry.resume(TenantId("acme"))
            views = [await service.get(world.context(), one.run) for one in (first, second)]
            assert [view.state for view in views] == [RunState.CANCELLED, RunState.REFUSED]
            assert {view.cause for view in views} == {"tenant_suspended"}
            assert world.host.clean()

    asyncio.run(main())


def test_a_key_names_one_request(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        world.deploy(HELLO, tenant=TenantId("zeta"))
        async with live() as service:
            submit = service.submit
            views = await asyncio.gather(
                *(submit(world.context(), "hello", b"a", idempotency_key="k1") for _ in range(5))
            )
            assert len({view.run for view in views}) == 1
            with pytest.raises(ConflictError):
                await submit(world.context(), "hello", b"b", idempotency_key="k1")
            with pytest.raises(ConflictError):
                await submit(world.context(), "hello", b"a", timeout_s=3, idempotency_key="k1")
            other = await submit(world.context(TenantId("zeta")), "hello", b"a", idempotency_key="k1")
            assert other.run != views[0].run
            await world.ended(views[0].run)
            await world.ended(other.run, TenantId("zeta"))
            assert len(world.host.made) == 2

    asyncio.run(main())


def test_a_strangers_run_is_absent(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        async with live() as service:
            view = await world.run()
            stranger = world.context(TenantId("zeta"))
            asks = (
                lambda: service.get(stranger, view.run),
                lambda: service.cancel(stranger, view.run),
                lambda: service.journal(stranger, view.run),
                lambda: service.why(stranger, view.run),
                lambda: service.artifact(stranger, view.run, "a"),
                lambda: anext(service.follow(stranger, view.run)),
            )
            for ask in asks:
                with pytest.raises(NotFound):
                    await ask()
            assert (await service.list(stranger)).items == ()

    asyncio.run(main())


def test_a_minted_id_that_exists_is_refused_and_harms_nobody(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        world.deploy("print('evil')", tenant=TenantId("zeta"))
        fixed = RunId("run_" + "0" * 26)
        world.build(mint_run=lambda: fixed)
        async with live() as service:
            view = await world.run()
            for tenant in ("zeta", "acme"):
                with pytest.raises(ConflictError):
                    await service.submit(world.context(TenantId(tenant)), "hello", b"")
            assert await service.get(world.context(), fixed) == view
            with pytest.raises(ConflictError):
                await service._durable.begin(TenantId("acme"), fixed)

    asyncio.run(main())


def test_bad_input_names_its_field(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        async with live() as service:
            bad: list[tuple[type[Exception], bytes, dict[str, Any]]] = [
                (InvalidRequest, b"", {"timeout_s": 0}),
                (InvalidRequest, b"", {"timeout_s": float("nan")}),
                (InvalidRequest, b"", {"idempotency_key": "a\nb"}),
                (InvalidRequest, b"", {"idempotency_key": "k" * 201}),
                (TooLarge, b"x" * (4 * 1024 * 1024 + 1), {}),
            ]
            for kind, data, named in bad:
                with pytest.raises(kind) as caught:
                    await service.submit(world.context(), "hello", data, **named)
                assert caught.value.field  # type: ignore[attr-defined]
            with pytest.raises(NotFound):
                await service.submit(world.context(), "nobody", b"")
            with pytest.raises(InvalidRequest):
                await service.list(world.context(), cursor="../../etc")

    asyncio.run(main())


def test_pages_of_a_list(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        async with live() as service:
            runs = [(await world.run()).run for _ in range(5)]
            seen, cursor = [], None
            while True:
                page = await service.list(world.context(), cursor, 2)
                seen += [item.run for item in page.items]
                cursor = page.next
                if cursor is None:
                    break
            assert seen == runs[::-1]

    asyncio.run(main())


def test_nothing_is_taken_while_draining(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy("import time; print('up', flush=True); time.sleep(0.5)")
        async with live() as service:
            view = await service.submit(world.context(), "hello", b"")
            await world.running(view.run)
            await service.drain(5)
            with pytest.raises(Draining):
                await service.submit(world.context(), "hello", b"")
            assert (await service.get(world.context(), view.run)).state is RunState.SUCCEEDED

    asyncio.run(main())


def test_slots_bound_what_runs_at_once(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy("import time; time.sleep(0.05)")
        world.slots = 2
        world.build()
        async with live():
            views = await asyncio.gather(*(world.run() for _ in range(8)))
            assert {view.state for view in views} == {RunState.SUCCEEDED}
            assert world.host.peak == 2 and world.host.clean()

    asyncio.run(main())


def test_ended_workflows_are_forgotten_and_their_runs_are_not(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        async with live() as service:
            view = await world.run()
            tenant = TenantId("acme")
            while await service._durable.standing(tenant, view.run) == "going":
                await asyncio.sleep(0.01)
            await service._durable.forget_ended(view.created_at - 60)
            assert await service._durable.standing(tenant, view.run) == "ended"
            await service._durable.forget_ended(view.created_at + 60)
            assert await service._durable.standing(tenant, view.run) == "absent"
            assert await service.get(world.context(), view.run) == view

    asyncio.run(main())


def test_a_caller_who_leaves_while_submitting_leaves_a_whole_run_or_none(world: Any, live: Any) -> None:
    async def main() -> None:
        world.deploy(HELLO)
        async with live() as service:
            for turns in range(12):
                asking = asyncio.create_task(service.submit(world.context(), "hello", b""))
                for _ in range(turns):
                    await asyncio.sleep(0.0005)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            await asyncio.sleep(0.2)
            page = await service.list(world.context())
            ends = [await world.ended(item.run) for item in page.items]
            assert {end.state for end in ends} == {RunState.SUCCEEDED} and len(world.host.made) == len(ends)

    asyncio.run(main())
