"""A credential that renews itself: the same claim, minted again before the last one runs out."""

from __future__ import annotations

from insula.identity.audience import Audience
from insula.identity.authority import Authority
from insula.kernel.clock import Clock
from insula.kernel.ids import RunId, TenantId


class RenewingToken:
    """Call it for a token with at least half its life left; it mints only when the last is half spent."""

    def __init__(
        self,
        authority: Authority,
        clock: Clock,
        tenant: TenantId,
        path: str,
        audience: type[Audience],
        *,
        run: RunId | None = None,
        ttl_s: float = 300,
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._what = (tenant, path, audience)
        self._run = run
        self._ttl_s = ttl_s
        self._token = ""
        self._renew_at, self._epoch = float("-inf"), 0

    def __call__(self) -> str:
        """Raises ``Denied`` as soon as the tenant may not act any more."""
        now, epoch = self._clock.now(), self._authority.epoch(*self._what[:2])
        if now >= self._renew_at or epoch != self._epoch:
            self._token = self._authority.mint(*self._what, run=self._run, ttl_s=self._ttl_s)
            self._renew_at, self._epoch = now + self._ttl_s / 2, epoch
        return self._token

    def __repr__(self) -> str:
        return f"<RenewingToken {self._what[2].name} {self._what[0]}>"
