"""One start of a run: door, sandbox, output, harvest, and everything destroyed again, whatever happens."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from insula.identity import Sandboxes
from insula.kernel.errors import IsolationUnavailable, UnavailableError
from insula.runs.blueprint import Blueprint
from insula.runs.live import LiveRun
from insula.runs.parts import Door, Exit, RunParts, Sandbox
from insula.runs.passes import RunPass
from insula.runs.states import RunState
from insula.runs.verdict import Cause, Ending, Refused, Verdict, judge, refused, waiting_stopped

_log = structlog.get_logger()
_OUTPUT_PATIENCE_S = 5.0
_LAUNCH_PAUSES_S = (0.3, 1.5, 6.0)


@dataclass(slots=True)
class Outcome:
    """What a start came to. ``destroyed``: there is a receipt that nothing of the sandbox is left."""

    verdict: Verdict
    exit_code: int | None = None
    result: bytes | None = field(default=None, repr=False)
    artifacts: list[tuple[str, bytes]] = field(default_factory=list, repr=False)
    destroyed: bool = False


class Attempt:
    """Carry it out with :meth:`carry`, once."""

    def __init__(self, parts: RunParts, live: LiveRun, plan: Blueprint, passport: RunPass) -> None:
        self._parts = parts
        self._live = live
        self._journal = live.journal
        self._plan = plan
        self._passport = passport
        self._door: Door | None = None
        self._sandbox: Sandbox | None = None
        self._outcome: Outcome | None = None

    async def carry(self) -> Outcome:
        """Start the agent, see it to its end. Raises ``Refused`` when the host cannot give the floor."""
        try:
            sandbox = await self._launch()
            self._outcome = await self._see_through(sandbox)
        finally:
            await self._clear_away()
        return self._outcome

    async def _launch(self) -> Sandbox:
        sandbox = await self._launched()
        self._sandbox = sandbox
        backend = str(sandbox.backend)
        self._parts.reach("sandbox_launched")
        self._journal.note("launched", backend=backend, floor=str(self._plan.profile.compute_floor))
        started = {"backend": backend, "started_at": self._parts.clock.now()}
        await self._journal.change(RunState.RUNNING, started, backend=backend)
        return sandbox

    async def _launched(self) -> Sandbox:
        """Launch; while the supervisor of sandboxes is away, wait for it and try again."""
        ctx = self._passport.context(Sandboxes)
        for pause_s in (*_LAUNCH_PAUSES_S, None):
            try:
                return await self._parts.launch(ctx, self._plan, self._open_door)
            except IsolationUnavailable as error:
                raise Refused(refused(Cause.ISOLATION_UNAVAILABLE, error.message, error.hint)) from error
            except UnavailableError as error:
                await self._shut_door()
                if pause_s is None:
                    raise
                self._journal.note("launch_delayed", code=error.code, pause_s=pause_s)
                await self._pause(pause_s)
        raise AssertionError("the last try returns or raises")

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._live.stopped.wait()
            assert self._live.cause is not None
            raise Refused(waiting_stopped(self._live.cause))

    async def _open_door(self, uid: int) -> Path:
        plan = self._plan
        self._door = await self._parts.doors.open(
            self._passport.door_credential(),
            run=plan.run,
            agent=plan.agent,
            models=plan.models,
            uid=uid,
            app=plan.app,
            lane=plan.lane,
        )
        self._parts.reach("door_open")
        return self._door.path

    async def _see_through(self, sandbox: Sandbox) -> Outcome:
        began = time.monotonic()
        ended = await self._watch(sandbox)
        self._parts.reach("exited")
        self._journal.note(
            "exited",
            reason=ended.reason,
            code=ended.code,
            signal=ended.signal,
            cpu_s=round(ended.cpu_s, 3),
            memory_peak_mib=ended.memory_peak >> 20,
            ran_ms=round((time.monotonic() - began) * 1000),
        )
        if ended.problem:
            _log.warning("sandbox_complained", run=self._plan.run, problem=ended.problem)
        await self._shut_door()
        ending = Ending(ended.code, ended.signal, ended.reason)
        verdict = judge(ending, self._live.cause, self._plan.bounds, self._plan.timeout.seconds)
        outcome = Outcome(verdict, exit_code=_status(ended))
        await self._harvest(sandbox, outcome)
        return outcome

    async def _watch(self, sandbox: Sandbox) -> Exit:
        """Wait for the end: by itself, by its time limit, or because somebody stops it."""
        reading = asyncio.create_task(self._read(sandbox))
        ending = asyncio.create_task(sandbox.wait())
        stopping = asyncio.create_task(self._live.stopped.wait())
        try:
            timeout_s = self._plan.timeout.seconds
            await asyncio.wait((ending, stopping), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                self._live.stop(Cause.TIMED_OUT)
                assert self._live.cause is not None
                await sandbox.kill(str(self._live.cause))
            ended = await ending
            await asyncio.wait((reading,), timeout=_OUTPUT_PATIENCE_S)
            return ended
        finally:
            for task in (reading, ending, stopping):
                task.cancel()
            await asyncio.gather(reading, ending, stopping, return_exceptions=True)

    async def _read(self, sandbox: Sandbox) -> None:
        """Put the output into the journal as text; characters cut by a chunk's end are put together."""
        decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        async for chunk in sandbox.output:
            text = decoders[chunk.stream].decode(chunk.data)
            if text:
                await self._journal.output(chunk.stream, text)
            self._parts.reach("output_flowing")
        for name, decoder in decoders.items():
            rest = decoder.decode(b"", final=True)
            if rest:
                await self._journal.output(name, rest)

    async def _harvest(self, sandbox: Sandbox, outcome: Outcome) -> None:
        found = await sandbox.harvest()
        outcome.result = found.result
        outcome.artifacts = [(artifact.name, artifact.data) for artifact in found.artifacts]
        for name, why in found.skipped:
            self._journal.note("artifact_skipped", name=name, why=why)
        self._parts.reach("harvested")

    async def _clear_away(self) -> None:
        await self._shut_door()
        if self._sandbox is None:
            return
        receipt = await self._sandbox.destroy()
        self._journal.note("destroyed", clean=receipt.clean)
        if self._outcome is not None:
            self._outcome.destroyed = receipt.clean

    async def _shut_door(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            await door.close()


def _status(ended: Exit) -> int | None:
    """The exit status as shells count it: 128 and the signal, when a signal ended it."""
    return 128 + ended.signal if ended.signal is not None else ended.code
