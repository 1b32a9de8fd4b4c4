"""The registry in the control database, with every row also in memory so that reads need no SQL.

A change is committed first and only then shown to readers and subscribers. One process owns the database.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError

from insula.kernel.clock import Clock
from insula.kernel.errors import AlreadyExists, ConflictError, InvalidRequest, NotFound
from insula.kernel.ids import AgentName, TenantId, agent_name, tenant_id
from insula.storage import ControlDatabase
from insula.tenancy.adapters.tables import AGENTS, METADATA, TENANTS
from insula.tenancy.profile import IsolationProfile, Overrides, resolve
from insula.tenancy.registry import RESERVED, TenantPage
from insula.tenancy.tenant import Agent, Tenant, TenantState
from insula.tenancy.tier import Tier, Trust

_LOG = structlog.get_logger()
_MOST_PER_PAGE = 1_000


class SqlRegistry:
    """Implements ``Registry``."""

    def __init__(self, control: ControlDatabase, trust: Trust, clock: Clock) -> None:
        self._control = control
        self._trust = trust
        self._clock = clock
        self._lock = threading.RLock()
        self._subscribers: list[Callable[[Tenant], None]] = []
        control.create(METADATA)
        with control.read() as connection:
            tenants = [_tenant(row._mapping) for row in connection.execute(select(TENANTS))]
            agents = [_agent(row._mapping) for row in connection.execute(select(AGENTS))]
        self._tenants = {tenant.id: tenant for tenant in tenants}
        self._agents = {(agent.tenant, agent.name): agent for agent in agents}
        self._profiles: dict[TenantId, IsolationProfile] = {}

    @property
    def trust(self) -> Trust:
        return self._trust

    def standing(self, tenant: str) -> tuple[TenantState, int] | None:
        """Return state and epoch, also of a deleted tenant; ``None`` for an id never used."""
        found = self._tenants.get(TenantId(tenant))
        return None if found is None else (found.state, found.epoch)

    def create(self, id: TenantId, tier: Tier, overrides: Overrides | None = None) -> Tenant:  # noqa: A002
        """Raises ``AlreadyExists`` if the id is, or ever was, in use; ``InvalidRequest`` if reserved."""
        name = _free_name(id)
        resolve(tier, self._trust, overrides)
        now = self._clock.now()
        tenant = Tenant(name, tier, TenantState.ACTIVE, 1, now, dict(overrides or {}))
        with self._lock:
            self._must_be_new(name)
            try:
                with self._control.begin() as connection:
                    connection.execute(insert(TENANTS).values(**_row(tenant)))
            except IntegrityError as error:
                raise _taken(name) from error
            return self._show(tenant)

    def get(self, id: TenantId) -> Tenant:  # noqa: A002
        found = self._tenants.get(id)
        if found is None or found.state is TenantState.DELETED:
            raise NotFound(f"there is no tenant {str(id)[:60]!r}", hint="insula tenant list shows them")
        return found

    def list(self, cursor: str | None = None, limit: int = 100) -> TenantPage:
        """Return tenants by id after ``cursor``; ``limit`` is 1 to 1,000."""
        if not 0 < limit <= _MOST_PER_PAGE:
            raise InvalidRequest(f"limit cannot be {limit}", hint=f"use 1 to {_MOST_PER_PAGE}", field="limit")
        alive = sorted(t.id for t in list(self._tenants.values()) if t.state is not TenantState.DELETED)
        start = bisect_right(alive, cursor) if cursor is not None else 0
        page = alive[start : start + limit]
        more = start + limit < len(alive)
        return TenantPage(tuple(self._tenants[name] for name in page), page[-1] if more else None)

    def deleted(self) -> Sequence[TenantId]:
        """Return the ids that were deleted, so that start-up can finish a deletion that a crash cut."""
        return [t.id for t in list(self._tenants.values()) if t.state is TenantState.DELETED]

    def profile(self, id: TenantId) -> IsolationProfile:  # noqa: A002
        cached = self._profiles.get(id)
        if cached is not None:
            return cached
        with self._lock:
            tenant = self.get(id)
            return self._profiles.setdefault(id, resolve(tenant.tier, self._trust, tenant.overrides))

    def set_tier(self, id: TenantId, tier: Tier, overrides: Overrides | None = None) -> Tenant:  # noqa: A002
        """Change the tier, and the overrides unless ``None``, which keeps them."""
        with self._lock:
            before = self.get(id)
            kept = dict(before.overrides if overrides is None else overrides)
            resolve(tier, self._trust, kept)
            return self._change(replace(before, tier=tier, overrides=kept))

    def suspend(self, id: TenantId) -> Tenant:  # noqa: A002
        """Cut the tenant off at once: every token of before is refused from now on. Again is fine."""
        return self._turn(id, TenantState.SUSPENDED)

    def resume(self, id: TenantId) -> Tenant:  # noqa: A002
        return self._turn(id, TenantState.ACTIVE)

    def delete(self, id: TenantId) -> Tenant:  # noqa: A002
        """Delete the tenant and its agents. The id stays taken for ever."""
        with self._lock:
            gone = self._turn(id, TenantState.DELETED)
            for key in [key for key in self._agents if key[0] == id]:
                del self._agents[key]
            return gone

    def put_agent(self, agent: Agent) -> Agent:
        """Store ``agent``, in place of one of its name. Raises ``ConflictError`` for a suspended tenant."""
        agent_name(agent.name)
        with self._lock:
            if self.get(agent.tenant).state is not TenantState.ACTIVE:
                raise ConflictError(
                    f"tenant {agent.tenant} is suspended", hint=f"insula tenant resume {agent.tenant}"
                )
            row = _agent_row(agent)
            with self._control.begin() as connection:
                statement = upsert(AGENTS).values(**row)
                connection.execute(
                    statement.on_conflict_do_update(index_elements=["tenant", "name"], set_=row)
                )
            self._agents[agent.tenant, agent.name] = agent
        return agent

    def get_agent(self, tenant: TenantId, name: AgentName) -> Agent:
        self.get(tenant)
        found = self._agents.get((tenant, name))
        if found is None:
            raise NotFound(
                f"tenant {tenant} has no agent {str(name)[:60]!r}", hint=f"insula agent deploy {tenant} DIR"
            )
        return found

    def list_agents(self, tenant: TenantId) -> Sequence[Agent]:
        self.get(tenant)
        mine = [agent for key, agent in list(self._agents.items()) if key[0] == tenant]
        return sorted(mine, key=lambda agent: agent.name)

    def subscribe(self, callback: Callable[[Tenant], None]) -> None:
        """Call ``callback`` with the tenant after each change, in the thread that made it."""
        self._subscribers.append(callback)

    def _turn(self, id: TenantId, state: TenantState) -> Tenant:  # noqa: A002
        with self._lock:
            before = self.get(id)
            if before.state is state:
                return before
            return self._change(replace(before, state=state, epoch=before.epoch + 1))

    def _change(self, tenant: Tenant) -> Tenant:
        with self._control.begin() as connection:
            connection.execute(update(TENANTS).where(TENANTS.c.id == tenant.id).values(**_row(tenant)))
            if tenant.state is TenantState.DELETED:
                connection.execute(delete(AGENTS).where(AGENTS.c.tenant == tenant.id))
        return self._show(tenant)

    def _show(self, tenant: Tenant) -> Tenant:
        self._tenants[tenant.id] = tenant
        self._profiles.pop(tenant.id, None)
        for callback in list(self._subscribers):
            try:
                callback(tenant)
            except (
                Exception
            ):  # a subscriber's failure must not undo what is committed, nor silence the others
                _LOG.exception("registry.subscriber_failed", tenant=tenant.id)
        return tenant

    def _must_be_new(self, name: TenantId) -> None:
        if name in self._tenants:
            raise _taken(name)


def _free_name(value: object) -> TenantId:
    name = tenant_id(value)
    if name in RESERVED:
        raise InvalidRequest(f"the tenant id {name!r} is reserved", hint="choose another id", field="tenant")
    return name


def _taken(name: TenantId) -> AlreadyExists:
    return AlreadyExists(
        f"the tenant id {name!r} is taken",
        hint="ids are never used again, not even after deletion",
        field="tenant",
    )


def _row(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "tier": str(tenant.tier),
        "state": str(tenant.state),
        "epoch": tenant.epoch,
        "created_at": tenant.created_at,
        "overrides": dict(tenant.overrides),
    }


def _tenant(row: Any) -> Tenant:
    return Tenant(
        TenantId(row["id"]),
        Tier(row["tier"]),
        TenantState(row["state"]),
        row["epoch"],
        row["created_at"],
        row["overrides"],
    )


def _agent_row(agent: Agent) -> dict[str, Any]:
    return {
        "tenant": agent.tenant,
        "name": agent.name,
        "bundle": agent.bundle,
        "runtime": agent.runtime,
        "models": list(agent.models),
        "limits": dict(agent.limits),
        "deployed_at": agent.deployed_at,
        "manifest": dict(agent.manifest),
    }


def _agent(row: Any) -> Agent:
    return Agent(
        TenantId(row["tenant"]),
        AgentName(row["name"]),
        row["bundle"],
        row["runtime"],
        tuple(row["models"]),
        row["limits"],
        row["deployed_at"],
        row["manifest"],
    )
