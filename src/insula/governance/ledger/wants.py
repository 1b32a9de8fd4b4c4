"""How much a task sets aside when it starts, learned from those that came before it."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

WINDOW = 64
COLD = 50_000
"""Tokens that a task of an agent nobody knows yet sets aside."""

_AGENTS = 10_000


class Wants:
    """Tokens per task, by tenant and agent; the least recently learned are dropped."""

    def __init__(self) -> None:
        self._used: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()

    def want(self, tenant: str, agent: str) -> tuple[int, int]:
        """Return what to set aside, and how little of it is worth starting with.

        The 95th percentile (nearest rank) of what the last tasks used and a fifth of its distance to the
        median; a tenth of that. Of an agent nobody knows, any token is worth it.
        """
        used = sorted(self._used.get((tenant, agent), ()))
        if not used:
            return COLD, 1
        top, middle = used[-(-95 * len(used) // 100) - 1], used[-(-len(used) // 2) - 1]
        want = max(1, top + -((middle - top) // 5))
        return want, -(-want // 10)

    def learn(self, tenant: str, agent: str, tokens: int) -> None:
        """Take in what a task used in all. Tasks cut short teach too little: leave them out."""
        key = (tenant, agent)
        if key not in self._used:
            self._used[key] = deque(maxlen=WINDOW)
            if len(self._used) > _AGENTS:
                self._used.popitem(last=False)
        self._used.move_to_end(key)
        self._used[key].append(tokens)

    def forget(self, tenant: str) -> None:
        """Drop what was learned of a tenant."""
        for key in [key for key in self._used if key[0] == tenant]:
            del self._used[key]

    def snapshot(self) -> list[Any]:
        """Return what was learned in plain types: ``[tenant, agent, [tokens, ...]]`` each."""
        return [[tenant, agent, list(used)] for (tenant, agent), used in self._used.items()]

    def restore(self, learned: list[Any]) -> None:
        """Take in what :meth:`snapshot` returned."""
        for tenant, agent, used in learned:
            self._used[tenant, agent] = deque(used, maxlen=WINDOW)
