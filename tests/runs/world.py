"""A platform's ground and runs on it. The sandbox here is a plain child process: what isolation holds is
tested in its own room and end to end; here it matters only that runs use it rightly.

Run as a program it is a platform that ends itself at a failpoint: see ``test_crash.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from insula.bundles import Bundle, BundleStore
from insula.bundles.bundle import BundleFile
from insula.bundles.inspect import bundle_of
from insula.identity import Authority, Runs, SigningKeys, Storage, VerifiedContext
from insula.identity.adapters.sql import SqlKeyStore
from insula.kernel.clock import SystemClock
from insula.kernel.errors import IsolationUnavailable, NotFound, UnavailableError
from insula.kernel.ids import AgentName, RunId, TenantId
from insula.runs import Drafts, Invocation, RunParts, RunService, RunView
from insula.runs.blueprint import Blueprint
from insula.runtimes import Runtime
from insula.storage import ControlDatabase
from insula.tenancy import Agent, Rung, Tier, Trust
from insula.tenancy.adapters.sql import SqlRegistry
from insula.usage.row import UsageRow
from insula.vault import Barrier, Keyring, TenantSpaces, open_root_key

ACME = TenantId("acme")
ZETA = TenantId("zeta")
TEMPLATE: Path | None = None
"""A database of the durable-execution library with its tables made, to be copied: making them is slow."""


@dataclass
class Chunk:
    stream: str
    data: bytes


@dataclass
class Ended:
    code: int | None
    signal: int | None
    reason: str
    cpu_s: float = 0.0
    memory_peak: int = 0
    problem: str = ""


@dataclass
class Found:
    result: bytes | None
    artifacts: list[Any] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Artifact:
    name: str
    data: bytes


@dataclass
class Receipt:
    clean: bool = True


class ChildSandbox:
    """A child process in a directory of its own, with the manners of a sandbox."""

    backend = Rung.NONE

    def __init__(self, plan: Blueprint, home: Path, process: asyncio.subprocess.Process) -> None:
        self._plan = plan
        self._home = home
        self._process = process
        self._why: str | None = None
        self._written = 0
        self.destroyed = 0

    @property
    def output(self) -> AsyncIterator[Chunk]:
        return self._output()

    async def _output(self) -> AsyncIterator[Chunk]:
        queue: asyncio.Queue[Chunk | None] = asyncio.Queue(16)

        async def read(name: str, stream: asyncio.StreamReader) -> None:
            while data := await stream.read(65536):
                self._written += len(data)
                if self._written > self._plan.bounds.output_bytes:
                    await self.kill("output_limit")  # and read on: an unread pipe never ends
                else:
                    await queue.put(Chunk(name, data))
            await queue.put(None)

        tasks = [
            asyncio.create_task(read("stdout", self._process.stdout)),
            asyncio.create_task(read("stderr", self._process.stderr)),
        ]
        left = 2
        try:
            while left:
                chunk = await queue.get()
                if chunk is None:
                    left -= 1
                else:
                    yield chunk
        finally:
            for task in tasks:
                task.cancel()

    async def wait(self) -> Ended:
        status = await self._process.wait()
        code, number = (None, -status) if status < 0 else (status, None)
        return Ended(code, number, self._why or "exited")

    async def kill(self, reason: str) -> None:
        self._why = self._why or reason
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def harvest(self) -> Found:
        result = self._home / "result.json"
        kept = self._home / "artifacts"
        names = sorted(kept.iterdir()) if kept.is_dir() else []
        return Found(
            result.read_bytes() if result.exists() else None,
            [Artifact(path.name, path.read_bytes()) for path in names],
        )

    async def destroy(self) -> Receipt:
        await self.kill("destroyed")
        await self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)
        self.destroyed += 1
        return Receipt()


def _die_with_parent() -> None:
    """What a sandbox does when its platform dies (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@dataclass
class Host:
    """What the stand-in sandboxes did. ``unavailable`` makes every launch fail for want of isolation."""

    root: Path
    made: list[ChildSandbox] = field(default_factory=list)
    unavailable: bool = False
    away: int = 0
    doors: int = 0
    peak: int = 0

    async def launch(
        self, ctx: Any, plan: Blueprint, open_door: Callable[[int], Awaitable[Path]]
    ) -> ChildSandbox:
        if self.unavailable:
            raise IsolationUnavailable("this host has no bubblewrap", hint="apt-get install bubblewrap")
        await open_door(os.getuid())
        if self.away:
            self.away -= 1
            raise UnavailableError("the supervisor is away")
        home = Path(tempfile.mkdtemp(dir=self.root))
        for file in plan.files:
            (home / file.path).write_bytes(file.data)
        command = [sys.executable, "-I", "-S", *plan.command[1:]]
        given = home / ".stdin"
        given.write_bytes(plan.data)
        with given.open("rb") as stdin:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=home,
                env={"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                preexec_fn=_die_with_parent,
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        made = ChildSandbox(plan, home, process)
        self.made.append(made)
        self.peak = max(self.peak, sum(not one.destroyed for one in self.made))
        return made

    async def open(self, credential: Callable[[], str], **_named: Any) -> Any:
        assert credential()
        self.doors += 1
        return _Door(self)

    def sweep(self) -> None:
        """Doors of this host leave nothing behind."""

    def clean(self) -> bool:
        return not any(self.root.iterdir()) and self.doors == 0


@dataclass
class _Door:
    host: Host
    path: Path = Path("/nowhere")

    async def close(self) -> None:
        self.host.doors -= 1


class Runtimes:
    def get(self, name: str) -> Runtime:
        if name != "python":
            raise NotFound(f"there is no runtime {name!r}", hint=f"insula runtime build {name}")
        return Runtime(name, "0" * 64, Path("/"), "3.11", ())


def bundle(code: str, manifest: str = "") -> Bundle:
    text = f'name = "hello"\nentrypoint = "python main.py"\n{manifest}'
    return bundle_of(
        [BundleFile("agent.toml", 0o644, text.encode()), BundleFile("main.py", 0o644, code.encode())]
    )


@dataclass
class Ground:
    """The real rooms below runs, in a home of their own."""

    control: ControlDatabase
    registry: SqlRegistry
    keyring: Keyring
    spaces: TenantSpaces
    authority: Authority

    def close(self) -> None:
        self.spaces.close_all()
        self.keyring.close()
        self.control.close()


def lay(home: Path) -> Ground:
    home.mkdir(mode=0o700, exist_ok=True)
    clock = SystemClock()
    barrier = Barrier(open_root_key(home / "root.key"))
    control = ControlDatabase(home / "control.db")
    registry = SqlRegistry(control, Trust.INTERNAL, clock)
    keyring = Keyring(home / "keys.db", barrier, clock)
    keys = SqlKeyStore(control)
    authority = Authority(SigningKeys(keys, barrier, clock), registry, clock, keys, lambda _refusal: None)
    return Ground(control, registry, keyring, TenantSpaces(home / "tenants", keyring, clock), authority)


@dataclass
class World:
    """Ground, host and a run service; ``again`` makes the service that a restart would."""

    ground: Ground
    host: Host
    service: RunService
    home: Path
    points: dict[str, Callable[[], None]] = field(default_factory=dict)
    slots: int = 4
    told: list[Invocation] = field(default_factory=list)
    lanes: tuple[str, ...] = ("interactive", "batch")

    def reach(self, point: str) -> None:
        self.points.get(point, lambda: None)()

    def context(self, tenant: TenantId = ACME) -> VerifiedContext[Runs]:
        authority = self.ground.authority
        return authority.verifier(Runs).verify(authority.mint(tenant, "operator/op1", Runs))

    def storage(self, tenant: TenantId = ACME) -> VerifiedContext[Storage]:
        authority = self.ground.authority
        return authority.verifier(Storage).verify(authority.mint(tenant, "operator/op1", Storage))

    def deploy(self, code: str, manifest: str = "", name: str = "hello", tenant: TenantId = ACME) -> None:
        made = bundle(code, manifest)
        BundleStore().put(self.ground.spaces.open(self.storage(tenant)), made)
        told = made.manifest
        agent = Agent(
            tenant, AgentName(name), made.digest, told.runtime, told.models, told.limits, 0.0, told.as_dict()
        )
        self.ground.registry.put_agent(agent)

    def build(self, **changes: Any) -> RunService:
        drafts = Drafts(self.ground.registry, BundleStore(), Runtimes())

        async def run_total(_ctx: Any, _run: RunId) -> UsageRow:
            return UsageRow()

        parts = RunParts(
            authority=self.ground.authority,
            registry=self.ground.registry,
            control=self.ground.control,
            spaces=self.ground.spaces,
            draw=drafts.draw,
            launch=self.host.launch,
            doors=self.host,
            run_total=run_total,
            clock=SystemClock(),
            durable_path=self.home / "durable.db",
            slots=self.slots,
            reach=self.reach,
            lanes=lambda _tenant: self.lanes,
            ended=self.told.append,
        )
        self.service = RunService(parts, **changes)
        return self.service

    async def ended(self, run: RunId, tenant: TenantId = ACME) -> RunView:
        async for _event in self.service.follow(self.context(tenant), run):
            pass
        return await self.service.get(self.context(tenant), run)

    async def run(self, data: bytes = b"", **named: Any) -> RunView:
        view = await self.service.submit(self.context(), "hello", data, **named)
        return await self.ended(view.run)

    async def running(self, run: RunId) -> None:
        async for event in self.service.follow(self.context(), run):
            if event.kind == "output":
                return


def make(root: Path) -> World:
    """Return the world at ``root``: new, or as it was left there."""
    ground = lay(root / "home")
    for tenant in (ACME, ZETA):
        if ground.registry.standing(tenant) is None:
            ground.registry.create(tenant, Tier.PRO)
            ground.keyring.create(tenant)
    (root / "host").mkdir(exist_ok=True)
    durable = root / "home" / "durable.db"
    if TEMPLATE is not None and not durable.exists():
        shutil.copy(TEMPLATE, durable)
    made = World(ground, Host(root / "host"), None, root / "home")  # type: ignore[arg-type]
    made.build()
    return made


AGENT = "import time; print('begun', flush=True); time.sleep(0.3); print('ended')"


async def die_at(root: Path, point: str, manifest: str) -> None:
    """Be a platform that is killed by SIGKILL when its first run passes ``point``."""
    world = make(root)
    world.deploy(AGENT, manifest)
    world.points[point] = lambda: os.kill(os.getpid(), signal.SIGKILL)
    await world.service.start()
    view = await world.service.submit(world.context(), "hello", b"", idempotency_key="crash")
    await world.ended(view.run)


if __name__ == "__main__":
    asyncio.run(die_at(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
