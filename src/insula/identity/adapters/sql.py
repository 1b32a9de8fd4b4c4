"""Signing keys, revocations and credentials in the control database.

Private keys are sealed, secrets hashed.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Float,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from insula.identity.credentials import Credential, Principal
from insula.identity.keys import StoredKey
from insula.kernel.ids import TenantId
from insula.storage import ControlDatabase

_METADATA = MetaData()
_KEYS = Table(
    "signing_keys",
    _METADATA,
    Column("tenant", String, primary_key=True),
    Column("kid", String, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("retired_at", Float),
)
_REVOKED = Table(
    "revoked_tokens",
    _METADATA,
    Column("jti", String, primary_key=True),
    Column("until", Float, nullable=False),
)
_CREDENTIALS = Table(
    "credentials",
    _METADATA,
    Column("id", String, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("tenant", String),
    Column("name", String, nullable=False),
    Column("agent", String),
    Column("app", String),
    Column("scopes", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)


class SqlKeyStore:
    """Implements ``KeyStore`` and ``RevocationStore``."""

    def __init__(self, control: ControlDatabase) -> None:
        self._control = control
        control.create(_METADATA)

    def load(self) -> list[StoredKey]:
        with self._control.read() as connection:
            return [StoredKey(*row) for row in connection.execute(select(_KEYS))]

    def add(self, key: StoredKey) -> None:
        row = {
            "tenant": key.tenant,
            "kid": key.kid,
            "sealed": key.sealed,
            "created_at": key.created_at,
            "retired_at": key.retired_at,
        }
        with self._control.begin() as connection:
            connection.execute(insert(_KEYS).values(**row))

    def retire(self, tenant: TenantId, at: float) -> None:
        mine = (_KEYS.c.tenant == tenant) & _KEYS.c.retired_at.is_(None)
        with self._control.begin() as connection:
            connection.execute(update(_KEYS).where(mine).values(retired_at=at))

    def remove(self, tenant: TenantId) -> None:
        with self._control.begin() as connection:
            connection.execute(delete(_KEYS).where(_KEYS.c.tenant == tenant))

    def load_revoked(self, now: float) -> list[tuple[str, float]]:
        with self._control.begin() as connection:
            connection.execute(delete(_REVOKED).where(_REVOKED.c.until < now))
            return [(row.jti, row.until) for row in connection.execute(select(_REVOKED))]

    def add_revoked(self, jti: str, until: float) -> None:
        with self._control.begin() as connection:
            statement = upsert(_REVOKED).values(jti=jti, until=until)
            connection.execute(statement.on_conflict_do_update(index_elements=["jti"], set_={"until": until}))


class SqlCredentialStore:
    """Implements ``CredentialStore``."""

    def __init__(self, control: ControlDatabase) -> None:
        self._control = control
        control.create(_METADATA)

    def load(self) -> list[Credential]:
        with self._control.read() as connection:
            return [_credential(row) for row in connection.execute(select(_CREDENTIALS))]

    def add(self, credential: Credential) -> None:
        who = credential.principal
        row = {
            "id": who.id,
            "digest": credential.digest,
            "kind": who.kind,
            "tenant": who.tenant,
            "name": who.name,
            "agent": who.agent,
            "app": who.app,
            "scopes": sorted(who.scopes),
            "created_at": credential.created_at,
            "expires_at": credential.expires_at,
            "revoked_at": credential.revoked_at,
        }
        with self._control.begin() as connection:
            connection.execute(insert(_CREDENTIALS).values(**row))

    def revoke(self, id: str, at: float) -> None:  # noqa: A002
        with self._control.begin() as connection:
            connection.execute(update(_CREDENTIALS).where(_CREDENTIALS.c.id == id).values(revoked_at=at))


def _credential(row: Any) -> Credential:
    who = Principal(row.kind, row.id, row.tenant, frozenset(row.scopes), row.name, row.agent, row.app)
    return Credential(who, row.created_at, row.expires_at, row.revoked_at, row.digest)
