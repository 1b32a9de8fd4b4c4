"""What touches several rooms at once when a tenant comes, is stopped, or goes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from insula.governance.adapters.policies import SqlPolicies
from insula.governance.adapters.sql import SqlLimits
from insula.governance.adapters.weights import SqlWeights
from insula.governance.ledger import Ledgers
from insula.kernel.errors import NotFound
from insula.kernel.ids import TenantId
from insula.models import Entitlements
from insula.runs import RunService
from insula.tenancy import Overrides, Tenant, Tier
from insula.wiring.ground import Ground


@dataclass(frozen=True, slots=True)
class DeletionReceipt:
    """What is gone. ``deleted_at``: seconds since the epoch."""

    tenant: str
    deleted_at: float
    key_fingerprint: str
    key_destroyed: bool
    runs_cancelled: int
    credentials_revoked: int
    files_removed: bool


@dataclass(frozen=True, slots=True)
class Tenants:
    """Creation, suspension, deletion."""

    ground: Ground
    limits: SqlLimits
    weights: SqlWeights
    policies: SqlPolicies
    entitlements: Entitlements
    ledgers: Ledgers
    runs: RunService

    def create(self, tenant: TenantId, tier: Tier, overrides: Overrides) -> Tenant:
        """Register a tenant and give it a key. Raises ``AlreadyExists``, ``InvalidRequest``.

        The key comes second: a crash in between leaves a tenant that owns nothing; ``mend`` gives it one.
        """
        made = self.ground.registry.create(tenant, tier, overrides)
        self.ground.keyring.create(tenant)
        return made

    async def suspend(self, tenant: TenantId) -> Tenant:
        """Stop a tenant: its tokens stop working at once, its runs are cancelled."""
        changed = await asyncio.to_thread(self.ground.registry.suspend, tenant)
        await self.runs.cancel_all(tenant)
        return changed

    async def delete(self, tenant: TenantId) -> DeletionReceipt:
        """End a tenant's runs, revoke its credentials, destroy its keys, remove its files."""
        changed = await asyncio.to_thread(self.ground.registry.delete, tenant)
        cancelled = await self.runs.cancel_all(tenant)
        await self.runs.forget(tenant)
        receipt = await asyncio.to_thread(self._destroy, changed, cancelled)
        self.ledgers.forget(tenant)
        return receipt

    def mend(self) -> None:
        """Finish what a crash cut: keys of tenants just created, what is left of tenants deleted."""
        for tenant in self._all():
            if not self.ground.keyring.has(tenant):
                self.ground.keyring.create(tenant)
        for gone in self.ground.registry.deleted():
            self._revoke_rights(gone)
            with contextlib.suppress(NotFound):
                self.ground.spaces.destroy(gone)

    def _all(self) -> Iterator[TenantId]:
        cursor: str | None = None
        while True:
            page = self.ground.registry.list(cursor)
            yield from (tenant.id for tenant in page.items)
            if page.next is None:
                return
            cursor = page.next

    def _destroy(self, tenant: Tenant, cancelled: int) -> DeletionReceipt:
        revoked = self._revoke_rights(tenant.id)
        destroyed = self.ground.spaces.destroy(tenant.id)
        return DeletionReceipt(
            tenant=tenant.id,
            deleted_at=destroyed.key.at,
            key_fingerprint=destroyed.key.key_fingerprint,
            key_destroyed=not self.ground.keyring.has(tenant.id),
            runs_cancelled=cancelled,
            credentials_revoked=revoked,
            files_removed=destroyed.files_removed > 0,
        )

    def _revoke_rights(self, tenant: TenantId) -> int:
        """Take from a deleted tenant all that is not its data; return how many credentials that ended."""
        self.entitlements.forget(tenant)
        self.limits.drop(tenant)
        self.weights.drop(tenant)
        self.policies.drop(tenant)
        self.ground.signing.destroy(tenant)
        live = [one for one in self.ground.credentials.list(tenant) if one.revoked_at is None]
        for one in live:
            self.ground.credentials.revoke(one.id, tenant)
        return len(live)
