"""Revoked token ids, remembered for as long as a token can live."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from insula.identity.claims import LONGEST_LIFE_S
from insula.kernel.clock import Clock


class RevocationStore(Protocol):
    """Durable half: a restart within a token's life must not bring it back."""

    def load_revoked(self, now: float) -> Iterable[tuple[str, float]]: ...
    def add_revoked(self, jti: str, until: float) -> None: ...


class Revocations:
    """``live`` maps each revoked id to the second at which its token is dead anyway."""

    def __init__(self, store: RevocationStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.live: dict[str, float] = dict(store.load_revoked(clock.now()))

    def revoke(self, jti: str) -> None:
        """Refuse the token ``jti`` from now on. Durable on return."""
        now = self._clock.now()
        self.live[jti] = now + LONGEST_LIFE_S
        self._store.add_revoked(jti, now + LONGEST_LIFE_S)
        for old, until in list(self.live.items()):
            if until < now:
                self.live.pop(old, None)
