"""What identity needs from the vault: bytes sealed at rest, bound to what they are for."""

from __future__ import annotations

from typing import Protocol


class Sealer(Protocol):
    """Authenticated encryption. ``aad`` must be the same for both calls."""

    def seal(self, aad: bytes, plaintext: bytes) -> bytes: ...
    def unseal(self, aad: bytes, sealed: bytes) -> bytes: ...
