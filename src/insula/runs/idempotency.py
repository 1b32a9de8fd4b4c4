"""What an idempotency key is bound to. Pure.

The index, which is clear text, gets only a hash of tenant and key. What was asked with it is a digest that
stays in the tenant's sealed space, because a digest of a guessable input would give the input away.
"""

from __future__ import annotations

from hashlib import sha256

from insula.governance.fairness import Lane
from insula.kernel.errors import ConflictError
from insula.kernel.ids import AgentName, TenantId


def key_hash(tenant: TenantId, key: str) -> str:
    """Return the name of ``key`` in the index: one tenant's key never meets another's."""
    return sha256(b"%b\0%b" % (tenant.encode(), key.encode("utf-8", "surrogatepass"))).hexdigest()


def request_digest(
    agent: AgentName, data: bytes, timeout_s: float | None, lane: Lane = Lane.INTERACTIVE
) -> str:
    """Return the digest of what was asked."""
    urgency = "" if lane is Lane.INTERACTIVE else f"{lane}\0"
    head = f"{agent}\0{timeout_s!r}\0{len(data)}\0{urgency}".encode()
    return sha256(head + data).hexdigest()


def same_request(stored: str, asked: str) -> None:
    """Raise ``ConflictError`` when a key comes back with another request."""
    if stored != asked:
        raise ConflictError(
            "this idempotency key was used for another request",
            hint="use a new key for a new request",
            field="idempotency_key",
        )
