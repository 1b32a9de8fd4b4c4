"""May somebody act for a tenant now? Pure.

Everybody may while it is active, nobody once it is deleted. While it is suspended only the operator may: to
look at what happened, never as one of its agents, keys or tokens.
"""

from __future__ import annotations

from insula.tenancy import TenantState

_OPERATOR = "operator/"


def may_act(state: TenantState, path: str) -> bool:
    """``path`` is the subject's path below the tenant, such as ``operator/opr_…`` or ``agent/researcher``."""
    if state is TenantState.SUSPENDED:
        return path.startswith(_OPERATOR)
    return state is TenantState.ACTIVE
