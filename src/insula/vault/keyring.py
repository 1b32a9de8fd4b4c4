"""The keyring: a random data key per tenant, wrapped by the barrier, destroyed for good when asked.

Keys are random and never derived: what can be derived again cannot be shredded.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from insula.kernel.clock import Clock, SystemClock
from insula.kernel.entropy import token_bytes
from insula.kernel.errors import AlreadyExists, Misconfigured, NotFound
from insula.kernel.ids import TenantId, tenant_id
from insula.vault.adapters.keyfile import KeyFile
from insula.vault.barrier import KEY_BYTES, Barrier, Unsealable

_SENTINEL = "insula:barrier"


@dataclass(frozen=True, slots=True)
class ShredReceipt:
    """Proof that a tenant's key is gone. ``at`` is seconds since the epoch.

    ``key_fingerprint`` names the key without being it; ``proof`` says what was done and looked at.
    """

    tenant: str
    key_fingerprint: str
    at: float
    proof: str = (
        "overwritten (secure_delete), log truncated, synced; keys.db and keys.db-wal read: no byte left"
    )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Keyring:
    """Data keys of tenants. Administration of the platform: takes bare tenant ids, opens no tenant data."""

    def __init__(self, path: Path, barrier: Barrier, clock: Clock | None = None) -> None:
        self._barrier = barrier
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._open: dict[TenantId, bytes] = {}
        self._file = KeyFile(path)
        try:
            self._check_barrier()
        except BaseException:
            self._file.close()
            raise
        self._file.scour()

    def create(self, tenant: TenantId) -> None:
        """Make the key of a new tenant. Raises ``AlreadyExists`` when it has, or ever had, one."""
        name = tenant_id(tenant)
        with self._lock:
            if self._file.get(name) is not None or self._file.tombstone(name) is not None:
                raise AlreadyExists(f"tenant {name} has or had a key", hint="tenant ids are never used again")
            dek = token_bytes(KEY_BYTES)
            self._file.add(name, self._barrier.seal(_aad(name), dek))
            self._open[name] = dek

    def has(self, tenant: TenantId) -> bool:
        return self._file.get(tenant) is not None

    def dek(self, tenant: TenantId) -> bytes:
        """Return the 32-byte data key. Raises ``NotFound`` when there is none (any more)."""
        with self._lock:
            known = self._open.get(tenant)
            if known is not None:
                return known
            wrapped = self._file.get(tenant)
            if wrapped is None:
                raise NotFound(
                    f"tenant {str(tenant)[:60]!r} has no key", hint="it was deleted, or never created"
                )
            return self._open.setdefault(tenant, self._barrier.unseal(_aad(tenant), wrapped))

    def shred(self, tenant: TenantId) -> ShredReceipt:
        """Destroy the key for good and prove it. Shredding again returns the first receipt.

        Raises ``NotFound`` when there never was a key.
        """
        with self._lock:
            wrapped = self._file.get(tenant)
            if wrapped is None:
                return self._receipt(tenant)
            fingerprint = _fingerprint(self._barrier, tenant, wrapped)
            self._open.pop(tenant, None)
            self._file.forget(tenant, wrapped, fingerprint, self._clock.now())
            return self._receipt(tenant)

    def shredded(self) -> list[TenantId]:
        """Return the tenants whose key is gone, so that start-up can remove files that a crash left."""
        return [TenantId(name) for name in self._file.tombstones()]

    def close(self) -> None:
        with self._lock:
            self._open.clear()
            self._file.close()

    def _receipt(self, tenant: TenantId) -> ShredReceipt:
        stone = self._file.tombstone(tenant)
        if stone is None:
            raise NotFound(f"tenant {str(tenant)[:60]!r} never had a key")
        return ShredReceipt(tenant, *stone)

    def _check_barrier(self) -> None:
        """Tell a wrong root key at once, not at the first tenant."""
        wrapped = self._file.get(_SENTINEL)
        if wrapped is None:
            self._file.add(_SENTINEL, self._barrier.seal(_SENTINEL.encode(), b"\0" * KEY_BYTES))
            return
        try:
            self._barrier.unseal(_SENTINEL.encode(), wrapped)
        except Unsealable as error:
            raise Misconfigured(
                f"the root key does not open {self._file.path}",
                hint="restore root.key and keys.db from one backup",
                field="root_key",
            ) from error


def fingerprint(dek: bytes) -> str:
    """Return 16 hex digits that name a key."""
    return hashlib.sha256(b"insula key fingerprint\0" + dek).hexdigest()[:16]


def _fingerprint(barrier: Barrier, tenant: TenantId, wrapped: bytes) -> str:
    try:
        return fingerprint(barrier.unseal(_aad(tenant), wrapped))
    except Unsealable:  # a key that no longer opens must still be shreddable
        return "unreadable"


def _aad(tenant: str) -> bytes:
    return f"insula tenant key\0{tenant}".encode()
