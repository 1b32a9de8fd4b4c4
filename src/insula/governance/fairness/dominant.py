"""Dominant seconds: one cost for work that uses several resources.

What is *held* (a slot, KV cache, a sandbox) costs amount x time / capacity, what is *consumed* (tokens
computed) costs amount / rate. Both are seconds of the whole resource, so they compare, and the largest is
the cost: Dominant Resource Fairness over time (Ghodsi et al., "Dominant Resource Fairness", 2011, and
"Multi-Resource Fair Queueing for Packet Processing", 2012; the memoryless form). Fair shares of it are fair
shares of whatever each tenant leans on most, and asking for a resource one does not need never gains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SECOND = 1_000_000_000
"""Nanoseconds in a second."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much there is. A resource that is not named is not scarce.

    ``held``: how much may be held at once (slots, tokens of KV cache). ``consumed``: how much is done in
    a second (tokens). All from 1 up.
    """

    held: Mapping[str, int] = field(default_factory=dict)
    consumed: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a capacity below 1."""
        for name, amount in (*self.held.items(), *self.consumed.items()):
            if amount < 1:
                raise ValueError(f"the capacity of {name} is {amount}, below 1")


@dataclass(frozen=True, slots=True)
class Demand:
    """What one piece of work takes. ``held``: amount x nanoseconds. ``consumed``: amount."""

    held: Mapping[str, int] = field(default_factory=dict)
    consumed: Mapping[str, int] = field(default_factory=dict)


def dominant_ns(demand: Demand, capacity: Capacity) -> int:
    """Return the cost of ``demand`` in nanoseconds of its dominant resource, rounded up, at least 1.

    Rounded once, after the exact quotient: it does not matter in which unit a resource is counted.
    """
    cost = 1
    for name, amount_ns in demand.held.items():
        limit = capacity.held.get(name)
        if limit is not None:
            cost = max(cost, -(-amount_ns // limit))
    for name, amount in demand.consumed.items():
        rate = capacity.consumed.get(name)
        if rate is not None:
            cost = max(cost, -(-amount * SECOND // rate))
    return cost


def model_call(input_tokens: int, output_tokens: int, held_ns: int) -> Demand:
    """Return what a call to a model takes that runs for ``held_ns``."""
    return Demand(
        held={"slots": held_ns, "kv_tokens": kv_token_ns(input_tokens, output_tokens, held_ns)},
        consumed={"prefill_tokens": input_tokens, "decode_tokens": output_tokens},
    )


def kv_token_ns(input_tokens: int, output_tokens: int, held_ns: int) -> int:
    """Return the token-nanoseconds for which a call that runs ``held_ns`` occupies KV cache, rounded up.

    The cache holds the input p and grows to p + d as the output d is written: p + d/2 on average. With one
    step for each token that is the p d + d^2/2 of Justitia (arXiv 2510.17015).
    """
    return -(-(2 * input_tokens + output_tokens) * held_ns // 2)
