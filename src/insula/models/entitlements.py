"""Which tenant may use which model, and how much of it: the decision, and the table it reads."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from insula.kernel.errors import Denied, NotFound
from insula.kernel.ids import TenantId, tenant_id
from insula.models.endpoint import Model, model_id, token_bound


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A tenant's right to one model. ``None`` bounds leave the model's own."""

    tenant: TenantId
    model: str
    max_context: int | None = None
    max_output: int | None = None


class EntitlementStore(Protocol):
    """Where entitlements are kept."""

    def entitlements(self) -> list[Entitlement]: ...

    def put_entitlement(self, entitlement: Entitlement) -> None: ...

    def delete_entitlement(self, tenant: TenantId, model: str) -> None: ...

    def delete_entitlements(self, tenant: TenantId) -> None: ...


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a call may use: bounds in tokens, ``None`` where nobody set one."""

    max_context: int | None
    max_output: int | None


def tightest(*bounds: int | None) -> int | None:
    """Return the smallest stated bound; ``None`` when none is stated."""
    return min((bound for bound in bounds if bound is not None), default=None)


def decide(
    entitlement: Entitlement | None, model: Model | None, named: str, agent_models: Collection[str] | None
) -> Allowance:
    """Return what a call to ``named`` may use. Pure.

    ``agent_models`` is the agent's own list (``None``: no agent); it only narrows. A model that does
    not exist and one that is not granted look alike, so the catalog cannot be guessed at.
    Raises ``Denied`` with rule ``model_not_entitled``.
    """
    if entitlement is None or model is None:
        raise _denied(
            named, "the tenant is not entitled to it", "ask the operator: insula entitle TENANT MODEL"
        )
    if agent_models is not None and named not in agent_models:
        raise _denied(named, "the agent does not list it", "add it to models in agent.toml and deploy again")
    return Allowance(
        tightest(entitlement.max_context, model.context_tokens),
        tightest(entitlement.max_output, model.max_output),
    )


def _denied(named: str, why: str, hint: str) -> Denied:
    return Denied(f"model {named!r}: {why}", hint=hint, field="model", rule="model_not_entitled")


class Entitlements:
    """The table of entitlements: look-ups in memory, writes to the store first; a revoke cuts at once."""

    def __init__(self, store: EntitlementStore) -> None:
        self._store = store
        self._held: dict[tuple[str, str], Entitlement] = {
            (entry.tenant, entry.model): entry for entry in store.entitlements()
        }

    def entitle(
        self, tenant: str, model: str, max_context: int | None = None, max_output: int | None = None
    ) -> Entitlement:
        """Grant ``model`` to ``tenant`` or change the bounds of the grant. Raises ``InvalidRequest``."""
        entry = Entitlement(
            tenant_id(tenant),
            model_id(model),
            token_bound(max_context, "max_context"),
            token_bound(max_output, "max_output"),
        )
        self._store.put_entitlement(entry)
        self._held[entry.tenant, entry.model] = entry
        return entry

    def revoke(self, tenant: str, model: str) -> None:
        """Take ``model`` from ``tenant``. Raises ``NotFound`` if it was not granted."""
        if (tenant, model) not in self._held:
            raise NotFound(
                f"{tenant} is not entitled to {model!r}",
                hint="insula entitle list shows grants",
                field="model",
            )
        del self._held[tenant, model]
        self._store.delete_entitlement(TenantId(tenant), model)

    def forget(self, tenant: str) -> None:
        """Drop every grant of a tenant that is deleted."""
        for held in [key for key in self._held if key[0] == tenant]:
            del self._held[held]
        self._store.delete_entitlements(TenantId(tenant))

    def list(self, tenant: str) -> list[Entitlement]:
        """Return the grants of ``tenant`` by model id."""
        return sorted(
            (entry for (owner, _), entry in self._held.items() if owner == tenant),
            key=lambda entry: entry.model,
        )

    def find(self, tenant: str, model: str) -> Entitlement | None:
        """Return the grant, or ``None``."""
        return self._held.get((tenant, model))
