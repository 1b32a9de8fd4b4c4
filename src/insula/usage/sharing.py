"""Splitting one amount over many so that not a nano-dollar is lost or made: the largest remainder method.

Each gets the whole part of its exact share; what is left goes, one unit each, to those with the largest
remainders (Hamilton's method, known from the apportionment of seats). Pure, in integers.
"""

from __future__ import annotations

from collections.abc import Mapping

from insula.kernel.errors import InvalidRequest


def share(amount: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Return each name's part of ``amount``; the parts add up to it exactly.

    Every part is the exact share rounded down or up; who weighs nothing gets nothing. Equal remainders are
    served in the order of names, so that everybody computes the same. A negative amount (a credit) is split
    like its opposite. Raises ``InvalidRequest`` if a weight is negative or all are 0.
    """
    if any(weight < 0 for weight in weights.values()):
        raise InvalidRequest("a weight is negative", hint="weigh by what was used", field="weights")
    whole = sum(weights.values())
    if not whole:
        raise InvalidRequest("nobody used anything", hint="there is nothing to share by", field="weights")
    sign = -1 if amount < 0 else 1
    parts, remainders = {}, []
    for name, weight in weights.items():
        parts[name], rest = divmod(abs(amount) * weight, whole)
        remainders.append((-rest, name))
    left = abs(amount) - sum(parts.values())
    for _, name in sorted(remainders)[:left]:
        parts[name] += 1
    return {name: sign * part for name, part in parts.items()}
