from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from insula.identity import Authority, Refusal, SigningKeys, Storage, VerifiedContext
from insula.identity.adapters.sql import SqlKeyStore
from insula.kernel.clock import ManualClock
from insula.kernel.ids import TenantId
from insula.storage import ControlDatabase
from insula.tenancy import Tier, Trust
from insula.tenancy.adapters.sql import SqlRegistry
from insula.vault import Barrier, Keyring, TenantSpaces

ROOT = bytes(range(32))


@dataclass
class House:
    """A keyring and spaces over real files, with a real authority for contexts."""

    home: Path
    clock: ManualClock
    control: ControlDatabase
    registry: SqlRegistry
    authority: Authority
    keyring: Keyring
    spaces: TenantSpaces

    def context(self, tenant: str) -> VerifiedContext[Storage]:
        token = self.authority.mint(TenantId(tenant), "agent/a", Storage)
        return self.authority.verifier(Storage).verify(token)

    def bytes_of(self, name: str) -> bytes:
        """Every byte of the files whose name begins with ``name``, the write-ahead log included."""
        return b"".join(path.read_bytes() for path in sorted(self.home.rglob(f"{name}*")) if path.is_file())


@pytest.fixture
def barrier() -> Barrier:
    return Barrier(ROOT)


@pytest.fixture
def house(tmp_path: Path, barrier: Barrier) -> Iterator[House]:
    clock, control = ManualClock(), ControlDatabase(tmp_path / "control.db")
    registry = SqlRegistry(control, Trust.INTERNAL, clock)
    store = SqlKeyStore(control)
    ignore: Callable[[Refusal], None] = lambda _refusal: None  # noqa: E731
    authority = Authority(SigningKeys(store, barrier, clock), registry, clock, store, ignore)
    keyring = Keyring(tmp_path / "keys.db", barrier, clock)
    spaces = TenantSpaces(tmp_path / "tenants", keyring, clock)
    for name in ("acme", "beta"):
        registry.create(TenantId(name), Tier.PRO)
        keyring.create(TenantId(name))
    yield House(tmp_path, clock, control, registry, authority, keyring, spaces)
    spaces.close_all()
    keyring.close()
    control.close()
