"""How much a call will use, guessed before it runs.

A limit is only as useful as the estimate: too high and the bucket fills with promises nobody needs, too
low and calls overrun into debt. So both sides are estimated by what this application's calls to this model
really did. Output: the 95th percentile (nearest rank, of the last ``WINDOW`` calls) and a fifth of its
distance to the median, so that the margin is as large as the calls are uneven and nothing where they are
all alike. Input: the guess by size, corrected by the 95th percentile of how far such guesses were off.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict, deque

WINDOW = 128
COLD = 1024
_WARM = 3
_BYTES_PER_TOKEN = 4
_PARTS = 1024  # a correction is kept as parts of this many


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

    @property
    def warm(self) -> bool:
        """Whether there are enough figures to go by."""
        return len(self.ranked) >= _WARM

    def quantile(self, percent: int) -> int:
        """Return the smallest figure that ``percent`` % of the window do not exceed."""
        return self.ranked[-(-percent * len(self.ranked) // 100) - 1]

    def high(self) -> int:
        """Return the 95th percentile and a fifth of its distance to the median."""
        top = self.quantile(95)
        return top - (self.quantile(50) - top) // 5


class _Known:
    """What calls of one application to one model did."""

    __slots__ = ("held_us", "inputs", "outputs", "said")

    def __init__(self) -> None:
        self.outputs = Recent()
        self.inputs = Recent()
        self.held_us = 0
        self.said = 0  # output tokens, a moving mean of weight 1/8, in eighths


class Estimator:
    """Learned estimates per ``(scope, model)``; the least recently used are dropped.

    Each tenant has room of its own, ``each`` at most: whoever invents applications forgets only what he
    knew himself. ``capacity`` bounds the tenants that are remembered.
    """

    def __init__(self, capacity: int = 10_000, each: int = 256) -> None:
        self._capacity = capacity
        self._each = each
        self._tenants: OrderedDict[str, OrderedDict[tuple[str, str], _Known]] = OrderedDict()

    def output(self, scope: str, model: str, max_tokens: int, *, strict: bool = False) -> int:
        """Return the output tokens to reserve: never more than ``max_tokens``, at least 1.

        ``strict`` reserves all of ``max_tokens``. Until a few calls are known, at most ``COLD``.
        """
        ceiling = max(1, max_tokens)
        if strict:
            return ceiling
        known = self._find(scope, model)
        if known is None or not known.outputs.warm:
            return min(ceiling, COLD)
        return min(ceiling, max(1, known.outputs.high()))

    def knows(self, scope: str, model: str) -> bool:
        """Whether the output of such calls is estimated by what they did, not by what is usual."""
        known = self._find(scope, model)
        return known is not None and known.outputs.warm

    def input(self, scope: str, model: str, guess: int) -> int:
        """Return the input tokens to reserve for a call whose size is taken for ``guess`` tokens."""
        known = self._find(scope, model)
        if known is None or not known.inputs.warm:
            return guess
        return max(1, -(-guess * known.inputs.quantile(95) // _PARTS))

    def expected(self, scope: str, model: str, reserved: int) -> int:
        """Return the output tokens that a call probably has: the mean of such calls, not the cautious guess.

        A queue corrects what it charged when a call ends, so there caution would only delay whoever is
        known least. At most what is ``reserved``.
        """
        known = self._find(scope, model)
        return reserved if known is None or not known.said else min(reserved, max(1, known.said >> 3))

    def duration_us(self, scope: str, model: str) -> int:
        """Return how long such calls take (moving average, weight 1/8), else any calls to the model.

        0 until one is known.
        """
        known = self._find(scope, model) or self._find("", model)
        return known.held_us if known is not None else 0

    def learn(self, scope: str, model: str, output: int, *, guess: int = 0, read: int = 0) -> None:
        """Take in what a call produced and, for a ``guess`` at its input, what it ``read``.

        Calls cut short teach too little: leave them out.
        """
        known = self._of(scope, model)
        known.outputs.add(output)
        known.said = known.said + output - (known.said >> 3) if known.said else output << 3
        if guess > 0:
            known.inputs.add(-(-read * _PARTS // guess))

    def observe(self, scope: str, model: str, duration_us: int) -> None:
        """Take in how long a call held its slot."""
        for known in (self._of(scope, model), self._of("", model)):
            known.held_us += (duration_us - known.held_us) >> 3 if known.held_us else duration_us

    def _find(self, scope: str, model: str) -> _Known | None:
        tenant = self._tenants.get(scope.partition("/")[0])
        return None if tenant is None else tenant.get((scope, model))

    def _of(self, scope: str, model: str) -> _Known:
        name, key = scope.partition("/")[0], (scope, model)
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = OrderedDict()
        known = tenant.get(key)
        if known is None:
            known = tenant[key] = _Known()
        tenant.move_to_end(key)
        self._tenants.move_to_end(name)
        if len(tenant) > self._each:
            tenant.popitem(last=False)
        if len(self._tenants) > self._capacity:
            self._tenants.popitem(last=False)
        return known
