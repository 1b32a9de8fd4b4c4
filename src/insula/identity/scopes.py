"""Every right a credential can carry: one table, which the checks and the documentation both read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from insula.kernel.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Scope:
    """``operator``, ``tenant`` and ``key`` say which kinds of credential may carry it."""

    name: str
    meaning: str
    operator: bool = True
    tenant: bool = False
    key: bool = False


SCOPES: dict[str, Scope] = {
    scope.name: scope
    for scope in (
        Scope("tenants:read", "see tenants, their tier and profile", tenant=True),
        Scope("tenants:write", "create, change, suspend, resume and delete tenants"),
        Scope("agents:read", "see deployed agents", tenant=True),
        Scope("agents:write", "deploy agents", tenant=True),
        Scope("runs:read", "see runs, their output, journal and artifacts", tenant=True),
        Scope("runs:write", "start and cancel runs", tenant=True),
        Scope("keys:read", "see virtual keys, never their secrets", tenant=True),
        Scope("keys:write", "create and revoke virtual keys", tenant=True),
        Scope("tokens:read", "see tenant tokens, never their secrets", tenant=True),
        Scope("tokens:write", "create and revoke tenant tokens"),
        Scope("usage:read", "see usage and cost", tenant=True),
        Scope("costs:write", "record costs that tenants share"),
        Scope("limits:read", "see limits", tenant=True),
        Scope("limits:write", "set limits"),
        Scope("entitlements:read", "see which models a tenant may use", tenant=True),
        Scope("entitlements:write", "grant and revoke models"),
        Scope("models:read", "see models", tenant=True),
        Scope("models:use", "call models through the gateway", operator=False, key=True),
        Scope("endpoints:read", "see model endpoints, never their keys"),
        Scope("endpoints:write", "add and remove model endpoints"),
        Scope("runtimes:read", "see runtimes", tenant=True),
        Scope("runtimes:write", "build runtimes"),
        Scope("audit:read", "read and verify audit streams (a tenant: its own)", tenant=True),
        Scope("platform:read", "see the platform's health, settings and host report"),
        Scope("operators:write", "create and revoke operator tokens"),
    )
}

OPERATOR_SCOPES = frozenset(scope.name for scope in SCOPES.values() if scope.operator)
TENANT_SCOPES = frozenset(scope.name for scope in SCOPES.values() if scope.tenant)
KEY_SCOPES = frozenset(scope.name for scope in SCOPES.values() if scope.key)


def scopes_for(kind: str, wanted: Iterable[str] | None) -> frozenset[str]:
    """Return ``wanted`` (``None``: all that ``kind`` may carry).

    Raises ``InvalidRequest`` naming a bad one.
    """
    allowed = {"operator": OPERATOR_SCOPES, "tenant": TENANT_SCOPES, "key": KEY_SCOPES}[kind]
    given = allowed if wanted is None else frozenset(wanted)
    for name in sorted(given - allowed):
        known = "cannot be carried by" if name in SCOPES else "does not exist for"
        raise InvalidRequest(
            f"the scope {name[:40]!r} {known} a {kind} credential",
            hint=f"use some of {', '.join(sorted(allowed))}",
            field="scopes",
        )
    if not given:
        raise InvalidRequest("a credential without scopes is of no use", hint="name one", field="scopes")
    return given


def scopes_table() -> str:
    """Return the table of scopes as Markdown, for the reference documentation."""
    mark = {True: "yes", False: ""}
    rows = [
        f"| `{s.name}` | {s.meaning} | {mark[s.operator]} | {mark[s.tenant]} | {mark[s.key]} |"
        for s in SCOPES.values()
    ]
    head = ["| scope | allows to | operator | tenant | virtual key |", "|---|---|---|---|---|"]
    return "\n".join((*head, *rows)) + "\n"
