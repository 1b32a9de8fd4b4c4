"""Each tenant's own signing keys: Ed25519, sealed at rest, looked up only inside that tenant's set."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from insula.identity.claims import LONGEST_LIFE_S
from insula.identity.sealer import Sealer
from insula.kernel.clock import Clock
from insula.kernel.entropy import token_text
from insula.kernel.ids import TenantId


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One row. ``sealed`` is the private key; ``retired_at`` says since when it signs no more."""

    tenant: TenantId
    kid: str
    sealed: bytes = field(repr=False)
    created_at: float = 0.0
    retired_at: float | None = None


class KeyStore(Protocol):
    """Where sealed signing keys lie."""

    def load(self) -> Iterable[StoredKey]: ...
    def add(self, key: StoredKey) -> None: ...
    def retire(self, tenant: TenantId, at: float) -> None: ...
    def remove(self, tenant: TenantId) -> None: ...


@dataclass(frozen=True, slots=True)
class _Key:
    stored: StoredKey
    private: OKPKey = field(repr=False)
    public: OKPKey


class SigningKeys:
    """Keys of all tenants in memory, made on first use. Administration: never handed to a room."""

    def __init__(self, store: KeyStore, sealer: Sealer, clock: Clock) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._lock = threading.Lock()
        self._sets: dict[TenantId, dict[str, _Key]] = {}
        for stored in store.load():
            self._keep(stored, sealer.unseal(_aad(stored.tenant, stored.kid), stored.sealed))

    def signing(self, tenant: TenantId) -> tuple[str, OKPKey]:
        """Return (kid, private key) that signs for ``tenant`` now, making one if there is none."""
        with self._lock:
            key = self._active(tenant) or self._make(tenant)
        return key.stored.kid, key.private

    def public(self, tenant: str, kid: str) -> OKPKey | None:
        """Return the public key ``kid`` of this tenant's own set, unless it retired too long ago."""
        key = self._sets.get(TenantId(tenant), {}).get(kid)
        if key is None:
            return None
        retired = key.stored.retired_at
        return key.public if retired is None or self._clock.now() < retired + LONGEST_LIFE_S else None

    def rotate(self, tenant: TenantId) -> str:
        """Sign with a new key from now on; what the old one signed still verifies until it expires."""
        with self._lock:
            now = self._clock.now()
            self._store.retire(tenant, now)
            keys = self._sets.get(tenant, {})
            for kid, key in list(keys.items()):
                if key.stored.retired_at is None:
                    keys[kid] = replace(key, stored=replace(key.stored, retired_at=now))
            return self._make(tenant).stored.kid

    def destroy(self, tenant: TenantId) -> None:
        """Remove every key of ``tenant``."""
        with self._lock:
            self._store.remove(tenant)
            self._sets.pop(tenant, None)

    def _active(self, tenant: TenantId) -> _Key | None:
        keys = self._sets.get(tenant, {}).values()
        return next((key for key in keys if key.stored.retired_at is None), None)

    def _make(self, tenant: TenantId) -> _Key:
        kid = token_text(12)
        private = Ed25519PrivateKey.generate().private_bytes_raw()
        sealed = self._sealer.seal(_aad(tenant, kid), private)
        stored = StoredKey(tenant, kid, sealed, self._clock.now())
        self._store.add(stored)
        return self._keep(stored, private)

    def _keep(self, stored: StoredKey, raw: bytes) -> _Key:
        private = Ed25519PrivateKey.from_private_bytes(raw)
        key = _Key(stored, OKPKey.import_key(private), OKPKey.import_key(private.public_key()))
        self._sets.setdefault(stored.tenant, {})[stored.kid] = key
        return key


def _aad(tenant: TenantId, kid: str) -> bytes:
    return f"insula signing key\0{tenant}\0{kid}".encode()
