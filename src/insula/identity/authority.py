"""The authority: mints the signed claims and hands out the verifiers.

Minting takes a bare tenant id because this is where identity begins: whoever calls ``mint`` has itself just
decided who is there (a resolved credential, a run's own door). Only the wiring and the rooms it chooses
hold an authority.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from joserfc import jws

from insula.identity.acting import may_act
from insula.identity.audience import Audience
from insula.identity.claims import ALGORITHM, LONGEST_LIFE_S, TYPE
from insula.identity.context import VerifiedContext
from insula.identity.keys import SigningKeys
from insula.identity.refusal import OnRefusal, Refusal
from insula.identity.revoked import Revocations, RevocationStore
from insula.identity.subject import issuer, parse_subject, subject
from insula.identity.verifier import Verifier
from insula.kernel.clock import Clock
from insula.kernel.entropy import token_text
from insula.kernel.errors import Denied, InvalidRequest, Unauthenticated
from insula.kernel.ids import RunId, TenantId
from insula.tenancy import Standings, TenantState

A = TypeVar("A", bound=Audience)
B = TypeVar("B", bound=Audience)


class Authority:
    """Mints and verifies. One per platform; every tenant has its own issuer and key set in it."""

    def __init__(
        self,
        keys: SigningKeys,
        tenants: Standings,
        clock: Clock,
        revoked: RevocationStore,
        on_refusal: OnRefusal,
    ) -> None:
        self._keys = keys
        self._tenants = tenants
        self._clock = clock
        self._revocations = Revocations(revoked, clock)
        self._on_refusal = on_refusal

    def mint(
        self,
        tenant: TenantId,
        path: str,
        audience: type[Audience],
        *,
        run: RunId | None = None,
        ttl_s: float = 300,
    ) -> str:
        """Return a token for ``path`` of ``tenant`` (such as "agent/researcher/run/run_…"), one audience.

        Raises ``Denied`` unless the tenant is active, ``InvalidRequest`` for a malformed path or a ``ttl_s``
        outside 1 to 600.
        """
        if not 1 <= ttl_s <= LONGEST_LIFE_S:
            raise InvalidRequest(
                f"a token cannot live {ttl_s} s", hint=f"use 1 to {LONGEST_LIFE_S}", field="ttl_s"
            )
        name = subject(tenant, path)
        epoch = self.epoch(tenant, path)
        kid, key = self._keys.signing(tenant)
        now = int(self._clock.now())
        claims: dict[str, Any] = {
            "iss": issuer(tenant),
            "aud": audience.name,
            "tenant": tenant,
            "sub": name,
            "iat": now,
            "nbf": now,
            "exp": now + int(ttl_s),
            "jti": token_text(16),
            "epoch": epoch,
        }
        if run is not None:
            claims["run"] = run
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": kid}
        return jws.serialize_compact(header, json.dumps(claims, separators=(",", ":")), key, [ALGORITHM])

    def verifier(self, audience: type[A], *, tenant: TenantId | None = None) -> Verifier[A]:
        """Return a verifier for ``audience``; with ``tenant``, it refuses every other tenant's tokens."""
        return Verifier(
            audience, self._keys, self._tenants, self._revocations, self._clock, self._on_refusal, tenant
        )

    def exchange(self, context: VerifiedContext[Any], audience: type[B], *, ttl_s: float = 300) -> str:
        """Return a token for the same tenant, subject and run, for another audience, that never lives longer.

        Raises ``Unauthenticated`` when ``context`` has expired or was revoked, ``Denied`` when its tenant may
        not act.
        """
        named = parse_subject(context.subject)
        assert named is not None
        left = context.expires_at - self._clock.now()
        reason = self._stale(context, named[1], left)
        if reason is not None:
            refusal = Refusal(reason, audience.name, context.token_hash, None, context.tenant)
            self._on_refusal(refusal)
            raise Unauthenticated("the context can no longer be exchanged", reason=reason)
        return self.mint(context.tenant, named[1], audience, run=context.run, ttl_s=min(ttl_s, left))

    def revoke(self, jti: str) -> None:
        """Refuse the token ``jti`` at once and for as long as it would have lived."""
        self._revocations.revoke(jti)

    def _stale(self, context: VerifiedContext[Any], path: str, left: float) -> str | None:
        if left < 1:
            return "expired"
        if context.jti in self._revocations.live:
            return "revoked"
        return None if context.epoch == self.epoch(context.tenant, path) else "epoch"

    def epoch(self, tenant: TenantId, path: str) -> int:
        """Return the epoch in which ``path`` acts for ``tenant``. Raises ``Denied`` if it may not."""
        state, epoch = self._tenants.standing(tenant) or (TenantState.DELETED, 0)
        if not may_act(state, path):
            hint = f"insula tenant resume {tenant}" if state is TenantState.SUSPENDED else ""
            raise Denied(f"tenant {tenant} is {state}", hint=hint, rule="tenant.active")
        return epoch
