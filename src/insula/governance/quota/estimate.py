"""How much a call will use, guessed before it runs.

A limit is only as useful as the estimate: too high and the bucket fills with promises nobody needs, too
low and calls overrun into debt. So the output is estimated by what this agent's calls to this model really
produced: their 95th percentile (nearest rank, of the last ``WINDOW`` calls) and a fifth more.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict, deque

WINDOW = 128
COLD = 1024
_WARM = 8
_BYTES_PER_TOKEN = 4


def input_tokens(size: int) -> int:
    """Return the tokens that ``size`` bytes of prompt are taken for, at least 1."""
    return max(1, -(-size // _BYTES_PER_TOKEN))


class Recent:
    """The last ``WINDOW`` figures, kept sorted."""

    __slots__ = ("order", "ranked")

    def __init__(self) -> None:
        self.order: deque[int] = deque()
        self.ranked: list[int] = []

    def add(self, figure: int) -> None:
        """Take one figure in; the oldest leaves when the window is full."""
        if len(self.order) == WINDOW:
            del self.ranked[bisect_left(self.ranked, self.order.popleft())]
        self.order.append(figure)
        insort(self.ranked, figure)

    def q95(self) -> int:
        """Return the smallest figure that 95 % of the window do not exceed."""
        return self.ranked[-(-95 * len(self.ranked) // 100) - 1]


class Estimator:
    """Learned output estimates per ``(scope, model)``; the least recently used are dropped."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._recent: OrderedDict[tuple[str, str], Recent] = OrderedDict()

    def output(self, scope: str, model: str, max_tokens: int, *, strict: bool = False) -> int:
        """Return the output tokens to reserve: never more than ``max_tokens``, at least 1.

        ``strict`` reserves all of ``max_tokens``. Until a few calls are known, at most ``COLD``.
        """
        ceiling = max(1, max_tokens)
        if strict:
            return ceiling
        recent = self._recent.get((scope, model))
        if recent is None or len(recent.ranked) < _WARM:
            return min(ceiling, COLD)
        return min(ceiling, max(1, -(-recent.q95() * 12 // 10)))

    def learn(self, scope: str, model: str, output: int) -> None:
        """Take in what a call produced. Calls cut short teach too little: leave them out."""
        key = (scope, model)
        recent = self._recent.get(key)
        if recent is None:
            recent = self._recent[key] = Recent()
            if len(self._recent) > self._capacity:
                self._recent.popitem(last=False)
        else:
            self._recent.move_to_end(key)
        recent.add(output)
