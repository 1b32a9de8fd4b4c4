"""Real sandboxes on this host, started the way the platform starts them, behind a plain function call."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from insula.identity import Authority, SigningKeys, VerifiedContext
from insula.identity import Sandboxes as Audience
from insula.identity.adapters.sql import SqlKeyStore
from insula.kernel.clock import SystemClock
from insula.kernel.ids import RunId, TenantId, mint
from insula.runtimes import RuntimeStore
from insula.sandbox import Exit, Harvest, Receipt, Sandbox, Sandboxes, SandboxSpec
from insula.settings import Settings
from insula.storage import ControlDatabase
from insula.tenancy import IsolationProfile, Rung, SandboxBounds, Tier, Trust, resolve
from insula.tenancy.adapters.sql import SqlRegistry

T = TypeVar("T")

ACME = TenantId("acme")
BOUNDS = SandboxBounds(
    memory_mib=96,
    pids=24,
    cpu_fraction=1.0,
    workspace_mib=16,
    workspace_inodes=400,
    output_bytes=1 << 20,
    wall_s=20,
)
UIDS = range(210_000, 210_200)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root no sandbox can be made: say so instead of failing."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "ground" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


class Unsealed:
    """Keys of these tests live for seconds and seal nothing."""

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        return plaintext

    def unseal(self, aad: bytes, sealed: bytes) -> bytes:
        return sealed


@dataclass(frozen=True)
class Ended:
    """What was seen of one sandbox from its start to its receipt."""

    out: str
    err: str
    exit: Exit
    harvest: Harvest
    receipt: Receipt
    uid: int


class Ground:
    """A running fleet of sandboxes with a loop of its own."""

    def __init__(self, home: Path, rootfs: Path) -> None:
        self.runner = asyncio.Runner()
        self.clock = SystemClock()
        self.rootfs = rootfs
        self.control = ControlDatabase(home / "control.db")
        registry = SqlRegistry(self.control, Trust.INTERNAL, self.clock)
        registry.create(ACME, Tier.FREE)
        store = SqlKeyStore(self.control)
        keys = SigningKeys(store, Unsealed(), self.clock)
        self.authority = Authority(keys, registry, self.clock, store, lambda *_: None)
        self.fleet = Sandboxes(self.clock, UIDS)
        self.wait(self.fleet.start())

    def close(self) -> None:
        self.wait(self.fleet.stop())
        self.control.close()
        self.runner.close()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def context(self, run: RunId, tenant: TenantId = ACME) -> VerifiedContext[Audience]:
        token = self.authority.mint(tenant, f"run/{run}", Audience, run=run)
        return self.authority.verifier(Audience).verify(token)

    def new_run(self) -> RunId:
        return RunId(mint("run", self.clock))

    def profile(self, backend: Rung, bounds: SandboxBounds = BOUNDS) -> IsolationProfile:
        """The profile of a tenant whose runs get exactly this rung, by an operator's override."""
        overrides = {} if backend is Rung.BUBBLEWRAP else {"compute": str(backend)}
        return replace(resolve(Tier.FREE, Trust.INTERNAL, overrides), sandbox=bounds)

    def spec(self, code: str, bounds: SandboxBounds = BOUNDS, **more: Any) -> SandboxSpec:
        more.setdefault("command", ("/usr/bin/python3", "-I", "-S", "-c", code))
        more.setdefault("environment", {"PATH": "/usr/bin", "HOME": "/work", "LANG": "C.UTF-8"})
        return SandboxSpec(tenant=ACME, run=self.new_run(), rootfs=self.rootfs, bounds=bounds, **more)

    async def launch(self, backend: Rung, spec: SandboxSpec, **more: Any) -> Sandbox:
        return await self.fleet.launch(
            self.context(spec.run), spec, self.profile(backend, spec.bounds), **more
        )

    async def live(self, backend: Rung, code: str, bounds: SandboxBounds = BOUNDS, **more: Any) -> Ended:
        """Launch, read everything, wait, harvest, destroy."""
        sandbox = await self.launch(backend, self.spec(code, bounds, **more))
        assert sandbox.backend is backend
        streams = {"stdout": b"", "stderr": b""}
        async for chunk in sandbox.output:
            streams[chunk.stream] += chunk.data
        ended = await sandbox.wait()
        harvest = await sandbox.harvest()
        receipt = await sandbox.destroy()
        return Ended(
            streams["stdout"].decode(), streams["stderr"].decode(), ended, harvest, receipt, sandbox.uid
        )

    def python(self, backend: Rung, code: str, bounds: SandboxBounds = BOUNDS, **more: Any) -> Ended:
        """Run a program in a sandbox; whatever it did, nothing may be left of it."""
        ended = self.wait(self.live(backend, code, bounds, **more))
        assert ended.receipt.clean, ended
        return ended


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime that the platform ships, built once a host."""
    cache = Settings().resolved().cache / "runtimes"
    runtimes = RuntimeStore(tmp_path_factory.mktemp("runtimes"), cache)
    return runtimes.ensure_shipped(("python",))[0].rootfs


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory, rootfs: Path) -> Iterator[Ground]:
    made = Ground(tmp_path_factory.mktemp("ground"), rootfs)
    yield made
    made.close()


@pytest.fixture(params=[Rung.BUBBLEWRAP, Rung.NAMESPACE], ids=str)
def backend(request: pytest.FixtureRequest, ground: Ground) -> Rung:
    """Every test that takes this runs on each walled rung that the host gives: one contract."""
    rung: Rung = request.param
    lacks = ground.fleet.report()[rung]
    if lacks:
        pytest.skip(f"{lacks[0].what}: {lacks[0].fix}")
    return rung


@pytest.fixture
def bounds() -> SandboxBounds:
    """What a sandbox may use unless a test says otherwise."""
    return BOUNDS
