"""A real authority over a real registry, audit log and database; two tenants; and a forger's tools."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import OKPKey

from insula.audit import AuditLog
from insula.identity import Authority, Credentials, SigningKeys, audited
from insula.identity.adapters.sql import SqlCredentialStore, SqlKeyStore
from insula.kernel.clock import ManualClock
from insula.kernel.ids import TenantId
from insula.storage import ControlDatabase, SqlHeads
from insula.tenancy import Tier, Trust
from insula.tenancy.adapters.sql import SqlRegistry

ACME, BETA = TenantId("acme"), TenantId("beta")


class PlainSealer:
    """The smallest true sealer: AES-GCM under a fixed key."""

    def __init__(self) -> None:
        self._aead = AESGCM(b"k" * 32)

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        return self._aead.encrypt(b"n" * 12, plaintext, aad)

    def unseal(self, aad: bytes, sealed: bytes) -> bytes:
        return self._aead.decrypt(b"n" * 12, sealed, aad)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class World:
    clock: ManualClock
    control: ControlDatabase
    log: AuditLog
    registry: SqlRegistry
    keys: SigningKeys
    authority: Authority
    credentials: Credentials

    home: Path

    def restarted(self) -> World:
        """What a new process finds on the same files at the same time."""
        return open_world(self.home, self.clock)

    def refusals(self) -> list[str]:
        """The reasons of every refusal on record, and the chain must hold."""
        assert self.log.verify("platform").ok
        return [str(record.details["reason"]) for record in self.log.read("platform", 0, 100_000)]

    def claims(self, tenant: TenantId = ACME, /, **changes: Any) -> dict[str, Any]:
        """Good gateway claims of ``tenant`` with ``changes``; a value of ``...`` leaves the claim out."""
        now = int(self.clock.now())
        good: dict[str, Any] = {
            "iss": f"insula://t/{tenant}",
            "aud": "insula:gateway",
            "tenant": tenant,
            "sub": f"spiffe://insula/t/{tenant}/agent/a",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": "j1",
            "epoch": 1,
        }
        return {name: value for name, value in (good | changes).items() if value is not ...}

    def header(self, tenant: TenantId = ACME, /, **changes: Any) -> dict[str, Any]:
        good = {"alg": "Ed25519", "typ": "at+jwt", "kid": self.keys.signing(tenant)[0]}
        return {name: value for name, value in (good | changes).items() if value is not ...}

    def sign(
        self, header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, key: OKPKey | None = None
    ) -> str:
        """Sign exactly these bytes with acme's key (or ``key``), whatever the header says."""
        key = key or self.keys.signing(ACME)[1]
        head = header if isinstance(header, bytes) else json.dumps(header).encode()
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        message = f"{b64(head)}.{b64(body)}"
        signature = key.get_op_key("sign").sign(message.encode())  # type: ignore[union-attr]
        return f"{message}.{b64(signature)}"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = open_world(tmp_path, ManualClock())
    for tenant in (ACME, BETA):
        made.registry.create(tenant, Tier.PRO)
    yield made
    made.log.close()
    made.control.close()


def open_world(home: Path, clock: ManualClock) -> World:
    control = ControlDatabase(home / "control.db")
    log = AuditLog(home / "audit", b"a" * 32, SqlHeads(control), clock)
    registry = SqlRegistry(control, Trust.INTERNAL, clock)
    store = SqlKeyStore(control)
    keys = SigningKeys(store, PlainSealer(), clock)
    authority = Authority(keys, registry, clock, store, audited(log))
    credentials = Credentials(SqlCredentialStore(control), registry, clock)
    return World(clock, control, log, registry, keys, authority, credentials, home)
