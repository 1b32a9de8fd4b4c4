"""The sandboxes of a platform: where runs get a place that is no weaker than their tier."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from insula.identity import Sandboxes as Audience
from insula.identity import VerifiedContext, require
from insula.kernel.clock import Clock
from insula.kernel.errors import Denied, UnavailableError
from insula.sandbox import payload, wire
from insula.sandbox.dispatch import LATER, NOT_BUILT, choose
from insula.sandbox.limits import MIB, Limits
from insula.sandbox.line import SpawnerLine, readable_pipe
from insula.sandbox.output import Output
from insula.sandbox.recipe import Missing
from insula.sandbox.sandbox import Sandbox
from insula.sandbox.spec import SandboxSpec
from insula.sandbox.uids import Lease, Uids
from insula.tenancy import IsolationProfile, Rung

_log = structlog.get_logger()
_SEATS = 2
_RESTART_S = 0.2

OpenDoor = Callable[[int], Awaitable[Path]]
"""Called with the sandbox's host uid; returns the socket to show inside."""


class Sandboxes:
    """``start`` and ``stop`` on the event loop that uses it."""

    def __init__(self, clock: Clock, uids: range) -> None:
        self._clock = clock
        self._uids = Uids(uids)
        self._numbers = itertools.count(1)
        self._live: dict[int, Sandbox] = {}
        self._lacks: Mapping[Rung, Sequence[Missing]] = {}
        self._stopping = False
        self._restart: asyncio.Task[None] | None = None
        self._line = SpawnerLine(self._hear, self._lost)

    async def start(self) -> None:
        """Start the spawner, which tries what the host gives and sweeps what a dead platform left."""
        self._lacks = await self._line.open()
        self._keep_seats()

    async def stop(self) -> None:
        """End every sandbox, then the spawner."""
        self._stopping = True
        await asyncio.gather(*(sandbox.destroy() for sandbox in list(self._live.values())))
        await self._line.close()
        if self._restart is not None:
            self._restart.cancel()

    def report(self) -> dict[Rung, tuple[Missing, ...]]:
        """Return what each rung lacks on this host: nothing is good."""
        return {rung: (LATER,) if rung in NOT_BUILT else tuple(self._lacks.get(rung, ())) for rung in Rung}

    async def launch(
        self,
        context: VerifiedContext[Audience],
        spec: SandboxSpec,
        profile: IsolationProfile,
        open_door: OpenDoor | None = None,
    ) -> Sandbox:
        """Start a sandbox for the run that ``context`` names.

        Raises ``IsolationUnavailable`` when the host cannot give the profile's floor, ``Denied`` when the
        context is not this run's, ``Overloaded`` without a free uid, ``UnavailableError`` while the spawner
        is away.
        """
        tenant = require(context, Audience, self._clock.now())
        if tenant != spec.tenant or context.run != spec.run:
            raise Denied("the context is not of this run", rule="sandbox.run")
        rung = choose(self.report(), profile)
        lease = await asyncio.to_thread(self._uids.lend)
        try:
            door = await open_door(lease.uid) if open_door is not None else None
            sandbox = self._prepare(rung, spec, lease, str(door or ""))
        except BaseException:
            lease.end()
            raise
        try:
            await sandbox.launched
        except BaseException as problem:
            await self._give_up(sandbox)
            if isinstance(problem, OSError):
                raise UnavailableError(
                    f"the sandbox could not be made: {problem}", hint="insula doctor examines the host"
                ) from problem
            raise
        return sandbox

    def _prepare(self, rung: Rung, spec: SandboxSpec, lease: Lease, door: str) -> Sandbox:
        """Order the sandbox from the spawner. From here on it owns the lease."""
        stdout, stdout_end = readable_pipe()
        stderr, stderr_end = readable_pipe()
        order = payload.write(_order(spec, door), [file.data for file in spec.files])
        given = [payload.sealed(spec.stdin), stdout_end, stderr_end, order]
        number = next(self._numbers)
        try:
            self._line.send(_request(number, rung, spec, lease.uid), [*given, lease.lock])
        except BaseException:
            wire.close_all([stdout, stderr])
            raise
        finally:
            wire.close_all(given)
        output = Output(stdout, stderr, spec.bounds.output_bytes, lambda: sandbox.overflow())
        sandbox = Sandbox(number, rung, lease, output, self._stop)
        self._live[number] = sandbox
        return sandbox

    async def _give_up(self, sandbox: Sandbox) -> None:
        """A launch that failed or was not waited for."""
        if sandbox.launched.done() and sandbox.launched.exception() is not None:
            self._live.pop(sandbox.number, None)
            sandbox.abandon()
        else:
            await sandbox.destroy()

    def _stop(self, number: int, reason: str, grace_s: float) -> None:
        with contextlib.suppress(UnavailableError):
            self._line.send({"op": "stop", "id": number, "reason": reason, "grace_s": grace_s})

    def _keep_seats(self) -> None:
        usable = [rung for rung, lacks in self.report().items() if not lacks and rung is not Rung.NONE]
        if usable:
            self._line.send({"op": "seats", "recipe": str(max(usable)), "count": _SEATS})

    def _hear(self, message: dict[str, Any], fds: list[int]) -> None:
        sandbox = self._live.get(message["id"])
        if sandbox is None:
            wire.close_all(fds)
            return
        sandbox.take(message, fds)
        if message["event"] == "gone":
            del self._live[message["id"]]

    def _lost(self) -> None:
        """The spawner died: the kernel has ended its sandboxes. Say so, and start another."""
        live, self._live = list(self._live.values()), {}
        for sandbox in live:
            sandbox.lose()
        if not self._stopping:
            _log.error("spawner_died", sandboxes=len(live))
            self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        await asyncio.sleep(_RESTART_S)
        await self._line.close()
        self._line = SpawnerLine(self._hear, self._lost)
        await self.start()


async def probe_host() -> dict[Rung, tuple[Missing, ...]]:
    """Return what each rung lacks on this host, found by trying, without starting anything that stays."""
    line = SpawnerLine(lambda _message, fds: wire.close_all(fds), lambda: None)
    try:
        lacks = await line.open()
    finally:
        await line.close()
    return {rung: (LATER,) if rung in NOT_BUILT else tuple(lacks[rung]) for rung in Rung}


def _order(spec: SandboxSpec, door: str) -> payload.Order:
    return payload.Order(
        command=spec.command,
        environment=tuple(spec.environment.items()),
        rootfs=str(spec.rootfs),
        agent=str(spec.agent or ""),
        door=door,
        files=tuple((file.path, bool(file.mode & 0o111), len(file.data)) for file in spec.files),
    )


def _request(number: int, rung: Rung, spec: SandboxSpec, uid: int) -> dict[str, Any]:
    bounds = spec.bounds
    limits = Limits(
        memory=bounds.memory_mib * MIB,
        pids=bounds.pids,
        cpus=bounds.cpu_fraction,
        workspace=bounds.workspace_mib * MIB,
        inodes=bounds.workspace_inodes,
        wall_s=float(bounds.wall_s),
    )
    return {
        "op": "launch",
        "id": number,
        "uid": uid,
        "recipe": str(rung),
        "limits": limits.to_wire(),
        "files": len(spec.files),
        "bytes": sum(len(file.data) for file in spec.files),
    }
