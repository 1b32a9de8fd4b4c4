"""Opaque credentials: operator tokens, tenant tokens and virtual keys. Only their SHA-256 is kept.

A secret is 32 random bytes, so a plain hash cannot be searched; looking it up by hash takes a time that
says nothing about any stored one. Administration of the operator's: it takes bare tenant ids and opens no
tenant data.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from insula.identity.scopes import scopes_for
from insula.kernel.clock import Clock
from insula.kernel.entropy import token_text
from insula.kernel.errors import Denied, InvalidRequest, NotFound, Unauthenticated
from insula.kernel.ids import AgentName, AppName, TenantId, mint
from insula.tenancy import Standings, TenantState

Kind = Literal["operator", "tenant", "key"]

_PREFIX: dict[Kind, str] = {"operator": "ins_op_", "tenant": "ins_tn_", "key": "ins_vk_"}
_ID: dict[Kind, str] = {"operator": "opr", "tenant": "tok", "key": "key"}
_SECRET = re.compile(r"ins_(?:op|tn|vk)_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,80}")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who presented a credential, and what it may do. ``tenant`` is ``None`` for operators only.

    A key may be bound to one of its tenant's agents, or to one of its applications.
    """

    kind: Kind
    id: str
    tenant: TenantId | None
    scopes: frozenset[str]
    name: str = ""
    agent: AgentName | None = None
    app: AppName | None = None

    @property
    def path(self) -> str:
        """The path under which the authority mints for this principal."""
        return f"{self.kind}/{self.id}"

    def require(self, scope: str) -> None:
        """Raises ``Denied`` unless this principal carries ``scope``."""
        if scope not in self.scopes:
            raise Denied(
                f"this needs the scope {scope}",
                hint="use a credential that carries it",
                rule=f"scope:{scope}",
            )


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential as listed: everything but its secret. Times are seconds since the epoch."""

    principal: Principal
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    digest: bytes = field(default=b"", repr=False)

    @property
    def id(self) -> str:
        return self.principal.id


@dataclass(frozen=True, slots=True)
class Issued:
    """A new credential with its secret, which is shown this once."""

    credential: Credential
    secret: str = field(repr=False)


class CredentialStore(Protocol):
    def load(self) -> Iterable[Credential]: ...
    def add(self, credential: Credential) -> None: ...
    def revoke(self, id: str, at: float) -> None: ...  # noqa: A002


class Credentials:
    """All credentials in memory, by hash. Writes are durable on return and seen at once."""

    def __init__(self, store: CredentialStore, tenants: Standings, clock: Clock) -> None:
        self._store = store
        self._tenants = tenants
        self._clock = clock
        self._lock = threading.Lock()
        self._by_digest = {credential.digest: credential for credential in store.load()}
        self._by_id = {credential.id: credential for credential in self._by_digest.values()}

    def create_operator(
        self, name: str, scopes: Iterable[str] | None = None, expires_at: float | None = None
    ) -> Issued:
        """Create an operator token with ``scopes`` (every operator scope when ``None``)."""
        return self._create("operator", None, name, scopes_for("operator", scopes), expires_at)

    def create_tenant_token(
        self,
        tenant: TenantId,
        name: str,
        scopes: Iterable[str] | None = None,
        expires_at: float | None = None,
    ) -> Issued:
        """Create a token that acts for ``tenant`` only (with every tenant scope when ``None``)."""
        return self._create("tenant", tenant, name, scopes_for("tenant", scopes), expires_at)

    def create_key(
        self,
        tenant: TenantId,
        name: str,
        agent: AgentName | None = None,
        expires_at: float | None = None,
        app: AppName | None = None,
    ) -> Issued:
        """Create a virtual key: calls models for ``tenant``, within the limits of ``agent`` or ``app``.

        Raises ``InvalidRequest`` if both are: an agent's application is the one it was deployed for.
        """
        if agent is not None and app is not None:
            raise InvalidRequest(
                "a key is bound to an agent or to an application, not to both",
                hint="leave app out: an agent belongs to the application it was deployed for",
                field="app",
            )
        return self._create("key", tenant, name, scopes_for("key", None), expires_at, agent, app)

    def resolve(self, secret: str) -> Principal:
        """Return who presents ``secret``.

        Raises ``Unauthenticated`` for an unknown, expired or revoked one, ``Denied`` for a suspended tenant.
        """
        digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        found = self._by_digest.get(digest)
        known = found is not None and hmac.compare_digest(found.digest, digest)
        if not known or found is None or not self._alive(found) or not _SECRET.fullmatch(secret):
            raise Unauthenticated("the credential is unknown, expired or revoked", hint="create a new one")
        self._must_be_active(found.principal.tenant)
        return found.principal

    def revoke(self, id: str, tenant: TenantId | None = None) -> Credential:  # noqa: A002
        """End a credential at once; again is fine. With ``tenant``, only one of that tenant's own.

        Raises ``NotFound`` for no such id, or a stranger's.
        """
        with self._lock:
            found = self._by_id.get(id)
            if found is None or (tenant is not None and found.principal.tenant != tenant):
                raise NotFound(f"there is no credential {str(id)[:60]!r}")
            if found.revoked_at is None:
                found = replace(found, revoked_at=self._clock.now())
                self._by_digest[found.digest] = self._by_id[id] = found  # cut first, then write it down
                self._store.revoke(id, found.revoked_at or 0.0)
            return found

    def list(self, tenant: TenantId | None = None, kind: Kind | None = None) -> list[Credential]:
        """Return credentials, oldest first: of ``tenant``, or of everybody when ``None``."""
        return [
            credential
            for credential in sorted(self._by_id.values(), key=lambda one: (one.created_at, one.id))
            if tenant in (None, credential.principal.tenant) and kind in (None, credential.principal.kind)
        ]

    def _create(
        self,
        kind: Kind,
        tenant: TenantId | None,
        name: str,
        scopes: frozenset[str],
        expires_at: float | None,
        agent: AgentName | None = None,
        app: AppName | None = None,
    ) -> Issued:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidRequest(
                "a credential needs a name", hint="1 to 80 printable characters", field="name"
            )
        now = self._clock.now()
        if expires_at is not None and expires_at <= now:
            raise InvalidRequest("expires_at is in the past", hint="choose a later time", field="expires_at")
        if tenant is not None:
            self._must_exist(tenant)
        secret = _PREFIX[kind] + token_text(32)
        principal = Principal(kind, mint(_ID[kind], self._clock), tenant, scopes, name, agent, app)
        digest = hashlib.sha256(secret.encode()).digest()
        credential = Credential(principal, now, expires_at, None, digest)
        with self._lock:
            self._store.add(credential)
            self._by_digest[digest] = self._by_id[credential.id] = credential
        return Issued(credential, secret)

    def _alive(self, credential: Credential) -> bool:
        expires = credential.expires_at
        return credential.revoked_at is None and (expires is None or self._clock.now() < expires)

    def _must_exist(self, tenant: TenantId) -> None:
        state, _ = self._tenants.standing(tenant) or (TenantState.DELETED, 0)
        if state is TenantState.DELETED:
            raise NotFound(f"there is no tenant {str(tenant)[:60]!r}", hint="insula tenant list shows them")

    def _must_be_active(self, tenant: TenantId | None) -> None:
        if tenant is None:
            return
        state, _ = self._tenants.standing(tenant) or (TenantState.DELETED, 0)
        if state is TenantState.DELETED:
            raise Unauthenticated("the credential is unknown, expired or revoked", hint="create a new one")
        if state is TenantState.SUSPENDED:
            hint = f"the operator can end it: insula tenant resume {tenant}"
            raise Denied(f"tenant {tenant} is suspended", hint=hint, rule="tenant.active")
