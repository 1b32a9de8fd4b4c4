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
from insula.kernel.errors import Denied, InvalidRequest, UnavailableError
from insula.sandbox import payload, wire
from insula.sandbox.dispatch import LATER, NOT_BUILT, choose
from insula.sandbox.limits import MIB, Limits
from insula.sandbox.line import SpawnerLine, readable_pipe
from insula.sandbox.output import Output
from insula.sandbox.recipe import Missing
from insula.sandbox.sandbox import Sandbox
from insula.sandbox.spec import SandboxSpec
from insula.sandbox.uids import Lease, Uids
from insula.sandbox.witness import Witness
from insula.tenancy import IsolationProfile, Rung, SandboxBounds

_log = structlog.get_logger()
_RESTART_PAUSES_S = (0.0, 0.2, 1.0, 5.0)
_FIND_AFTER_S = 0.03

OpenDoor = Callable[[int], Awaitable[Path]]
"""Called with the sandbox's host uid; returns the socket to show inside."""


class Sandboxes:
    """``start`` and ``stop`` on the event loop that uses it. ``seats`` are kept ready for the next runs."""

    def __init__(self, clock: Clock, uids: range, seats: int = 2) -> None:
        self._clock = clock
        self._seats = seats
        self._uids = Uids(uids)
        self._numbers = itertools.count(1)
        self._live: dict[int, Sandbox] = {}
        self._lacks: Mapping[Rung, Sequence[Missing]] = {}
        self._stopping = False
        self._restart: asyncio.Task[None] | None = None
        self._lending = asyncio.Lock()
        self._finding: asyncio.Task[None] | None = None
        self._witness: Witness | None = None
        self._line = SpawnerLine(self._hear, self._lost)

    async def start(self) -> None:
        """Start the spawner, which tries what the host gives and sweeps what a dead platform left."""
        self._lacks = await self._line.open()
        self._witness = Witness()
        self._keep_seats()
        if any(not lacks for lacks in self._lacks.values()):
            await self._find_uids()

    async def stop(self) -> None:
        """End every sandbox, then the spawner."""
        self._stopping = True
        if self._restart is not None:
            await self._restart
        await asyncio.gather(*(sandbox.destroy() for sandbox in list(self._live.values())))
        await self._line.close()
        if self._finding is not None:
            await self._finding
        self._uids.close()
        if self._witness is not None:
            self._witness.close()

    @property
    def spawner_pid(self) -> int | None:
        """The process that holds the sandboxes."""
        return self._line.pid

    @property
    def live(self) -> int:
        """Sandboxes that are not yet gone."""
        return len(self._live)

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
        _check_bounds(spec.bounds, profile.sandbox)
        rung = choose(self.report(), profile)
        lease = await self._lend()
        try:
            door = await open_door(lease.uid) if open_door is not None else None
            sandbox = self._prepare(rung, spec, lease, str(door or ""))
        except BaseException:
            lease.end()
            raise
        try:
            await asyncio.shield(sandbox.launched)  # the answer must find it even if nobody waits any more
        except BaseException as problem:
            await self._give_up(sandbox)
            if isinstance(problem, OSError):
                raise UnavailableError(
                    f"the sandbox could not be made: {problem}", hint="insula doctor examines the host"
                ) from problem
            raise
        return sandbox

    async def _lend(self) -> Lease:
        """Return a uid found ahead of time; look for more in the background."""
        async with self._lending:
            if not self._uids.ready():
                # Not lent in the thread: a launch that is cancelled meanwhile would lose what it was lent.
                await asyncio.to_thread(self._uids.prepare, 1)
            lease = self._uids.lend()
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(self._find_uids())
        return lease

    async def _find_uids(self) -> None:
        await asyncio.sleep(_FIND_AFTER_S)
        with contextlib.suppress(OSError):  # who needs one then looks for it, and is told
            async with self._lending:
                await asyncio.to_thread(self._uids.prepare, max(1, self._seats))

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
        assert self._witness is not None
        sandbox = Sandbox(number, rung, lease, output, self._stop, self._witness.watch)
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
        self._line.insist({"op": "stop", "id": number, "reason": reason, "grace_s": grace_s})

    def _keep_seats(self) -> None:
        usable = [rung for rung, lacks in self.report().items() if not lacks and rung is not Rung.NONE]
        if usable:
            self._line.send({"op": "seats", "recipe": str(max(usable)), "count": self._seats})

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
        lost, self._live = list(self._live.values()), {}
        for sandbox in lost:
            sandbox.lose()
        if self._stopping:
            for sandbox in lost:
                sandbox.swept(clean=False)
            return
        _log.error("spawner_died", sandboxes=len(lost))
        self._restart = asyncio.create_task(self._start_again(lost))

    async def _start_again(self, lost: Sequence[Sandbox]) -> None:
        """Starting sweeps what the dead spawner left; only then is anything of it known to be gone."""
        await self._line.close()
        clean = False
        for pause_s in _RESTART_PAUSES_S:
            await asyncio.sleep(pause_s)
            self._line = SpawnerLine(self._hear, lambda: None)
            with contextlib.suppress(UnavailableError):
                self._lacks = await self._line.open()
                self._line.lost = self._lost
                self._keep_seats()
                clean = True
                break
            await self._line.close()
        for sandbox in lost:
            sandbox.swept(clean)


async def probe_host() -> dict[Rung, tuple[Missing, ...]]:
    """Return what each rung lacks on this host, found by trying, without starting anything that stays."""
    line = SpawnerLine(lambda _message, fds: wire.close_all(fds), lambda: None)
    try:
        lacks = await line.open()
    finally:
        await line.close()
    return {rung: (LATER,) if rung in NOT_BUILT else tuple(lacks[rung]) for rung in Rung}


def _check_bounds(asked: SandboxBounds, allowed: SandboxBounds) -> None:
    for name in SandboxBounds.__dataclass_fields__:
        if getattr(asked, name) > getattr(allowed, name):
            raise InvalidRequest(
                f"{name}={getattr(asked, name)} is more than the tier's {getattr(allowed, name)}",
                hint="a run may narrow its bounds, not widen them",
                field=name,
            )


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
