"""What is written down when a token or credential is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from insula.audit import PLATFORM, AuditLog
from insula.kernel.errors import InvalidRequest
from insula.kernel.ids import tenant_id


@dataclass(frozen=True, slots=True)
class Refusal:
    """``claimed`` is what the token says, unverified; ``token_hash`` names the token without being it."""

    reason: str
    audience: str
    token_hash: str
    route: str | None = None
    claimed: str | None = None


OnRefusal = Callable[[Refusal], None]


def audited(log: AuditLog) -> OnRefusal:
    """Return a callback that writes each refusal to the platform's stream: no tenant is verified yet."""

    def record(refusal: Refusal) -> None:
        log.append(
            PLATFORM,
            "token.refused",
            outcome="refused",
            actor="unverified",
            target=refusal.audience,
            durable=False,
            reason=refusal.reason,
            token=refusal.token_hash[:16],
            claimed=_safe(refusal.claimed),
            route=refusal.route,
        )

    return record


def _safe(claimed: str | None) -> str | None:
    """Return the claimed tenant only if it could be one: nobody writes his own text into the log."""
    try:
        return None if claimed is None else str(tenant_id(claimed))
    except InvalidRequest:
        return None
