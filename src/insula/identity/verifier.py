"""Verification: the only maker of contexts.

Order of checks: shape (no key touched), the issuer's own key set, signature, issuer, audience and times,
tenant in claim, subject and route, revocation, standing and epoch. A verified token is remembered by its
SHA-256 until it expires, at most a minute; standing, epoch and revocation are asked again on every hit.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from joserfc import jws
from joserfc.errors import JoseError

from insula.identity.acting import may_act
from insula.identity.audience import Audience
from insula.identity.claims import ALGORITHM, Claims, Refused, check, parse
from insula.identity.context import Facts, VerifiedContext, claim_constructor
from insula.identity.keys import SigningKeys
from insula.identity.refusal import OnRefusal, Refusal
from insula.identity.revoked import Revocations
from insula.identity.subject import issuer, parse_subject
from insula.kernel.clock import Clock
from insula.kernel.errors import Unauthenticated
from insula.kernel.ids import RunId, TenantId
from insula.tenancy import Standings, TenantState

A = TypeVar("A", bound=Audience)
CACHE_S: Final = 60.0
CACHE_ENTRIES: Final = 8_192

_context = claim_constructor()
_sha256 = hashlib.sha256


class Verifier(Generic[A]):
    """Verifies tokens for one audience and, when given, one route tenant."""

    def __init__(
        self,
        audience: type[A],
        keys: SigningKeys,
        tenants: Standings,
        revoked: Revocations,
        clock: Clock,
        on_refusal: OnRefusal,
        tenant: TenantId | None = None,
    ) -> None:
        self._audience = audience
        self._keys = keys
        self._standing = tenants.standing
        self._revoked = revoked.live
        self._now: Callable[[], float] = clock.now
        self._on_refusal = on_refusal
        self._route = tenant
        self._lock = threading.Lock()
        self._cache: dict[bytes, tuple[VerifiedContext[A], float, str, tuple[TenantState, int], str]] = {}

    def verify(self, token: str) -> VerifiedContext[A]:
        """Return the context that ``token`` proves.

        Raises ``Unauthenticated`` with ``details["reason"]``; every refusal is reported before it is raised.
        """
        digest = _sha256(token.encode("utf-8", "surrogatepass")).digest()
        hit = self._cache.get(digest)
        if hit is not None:
            context, until, tenant, standing, jti = hit
            fresh = self._now() < until and jti not in self._revoked
            if fresh and self._standing(tenant) == standing:
                return context
            with self._lock:
                self._cache.pop(digest, None)
        return self._verify(token, digest)

    def _verify(self, token: str, digest: bytes) -> VerifiedContext[A]:
        claims: Claims | None = None
        try:
            parsed = parse(token)
            claims = parsed.claims
            self._check_signature(token, parsed.kid, claims)
            check(claims, self._audience.name, self._now())
            standing = self._check_standing(claims)
        except Refused as refused:
            raise self._refusal(refused.reason, digest, claims) from None
        return self._admit(claims, digest, standing)

    def _check_signature(self, token: str, kid: str, claims: Claims) -> None:
        """The key is looked up in the set of the issuer's tenant, and of no other."""
        if claims.iss != issuer(TenantId(claims.tenant)):
            raise Refused("issuer")
        if self._route is not None and claims.tenant != self._route:
            raise Refused("route")
        key = self._keys.public(claims.tenant, kid)
        if key is None:
            raise Refused("key")
        try:
            jws.deserialize_compact(token, key, algorithms=[ALGORITHM])
        except (JoseError, ValueError):
            raise Refused("signature") from None

    def _check_standing(self, claims: Claims) -> tuple[TenantState, int]:
        if claims.jti in self._revoked:
            raise Refused("revoked")
        standing = self._standing(claims.tenant)
        if standing is None:
            raise Refused("tenant")
        state, epoch = standing
        named = parse_subject(claims.sub)
        if named is None or not may_act(state, named[1]):
            raise Refused(str(state))
        if epoch != claims.epoch:
            raise Refused("epoch")
        return standing

    def _admit(self, claims: Claims, digest: bytes, standing: tuple[TenantState, int]) -> VerifiedContext[A]:
        run = None if claims.run is None else RunId(claims.run)
        tenant, expires = TenantId(claims.tenant), float(claims.exp)
        facts = Facts(
            tenant, claims.sub, run, self._audience, expires, claims.jti, digest.hex(), claims.epoch
        )
        context: VerifiedContext[Any] = _context(facts)
        until = min(expires, self._now() + CACHE_S)
        with self._lock:
            while len(self._cache) >= CACHE_ENTRIES:
                self._cache.pop(next(iter(self._cache)))
            self._cache[digest] = (context, until, claims.tenant, standing, claims.jti)
        return context

    def _refusal(self, reason: str, digest: bytes, claims: Claims | None) -> Unauthenticated:
        claimed = None if claims is None else claims.tenant
        self._on_refusal(Refusal(reason, self._audience.name, digest.hex(), self._route, claimed))
        return Unauthenticated(
            "the token was refused", hint="get a fresh token for this service", reason=reason
        )
