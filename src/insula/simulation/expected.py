"""How much a call will probably say: what the fair queue charges it at dispatch.

Limits hold a cautious estimate, so that calls do not run into debt. A queue corrects what it charged when the
call ends, so there caution only delays whoever is judged worst: those of whom little is known. So the queue
is given the mean of what the tenant's agent said before, and of what everybody said while it said nothing.
"""

from __future__ import annotations

_WEIGHT = 3
_FIRST = 256


class Expected:
    """Moving means of output tokens (weight 1/8), for each caller and for all together."""

    def __init__(self) -> None:
        self._means: dict[str, int] = {}
        self._all = _FIRST << _WEIGHT

    def output(self, who: str) -> int:
        """Return the output tokens to expect, at least 1."""
        return max(1, self._means.get(who, self._all) >> _WEIGHT)

    def learn(self, who: str, output: int) -> None:
        """Take in what a call said."""
        mean = self._means.get(who)
        self._means[who] = output << _WEIGHT if mean is None else mean + output - (mean >> _WEIGHT)
        self._all += output - (self._all >> _WEIGHT)
