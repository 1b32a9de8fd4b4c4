"""Rungs of isolation between an agent and the host, weakest first."""

from __future__ import annotations

from enum import IntEnum


class Rung(IntEnum):
    """Higher is stronger; comparison is the whole point, so the order of the members is the contract."""

    NONE = 0
    NAMESPACE = 1
    BUBBLEWRAP = 2
    GVISOR = 3
    MICROVM = 4

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def named(cls, word: str) -> Rung:
        """Return the rung called ``word`` (lower case). Raises ``KeyError``."""
        return {str(rung): rung for rung in cls}[word]
