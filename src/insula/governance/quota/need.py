"""What a call needs and what it used, in the units that limits are written in."""

from __future__ import annotations

from typing import NamedTuple, Self


class Amounts(NamedTuple):
    """Use by kind: what rates count.

    ``quota`` are tokens as the provider's burndown weighs them, ``input`` and ``output`` its two sides;
    ``nanousd`` is the price, which follows from other tables and is never derived from quota.
    """

    requests: int = 0
    quota: int = 0
    input: int = 0
    output: int = 0
    nanousd: int = 0


class Hard(NamedTuple):
    """The two kinds that calendar budgets count: quota tokens and nano-dollars."""

    quota: int = 0
    nanousd: int = 0


PLENTY = 16
"""A budget has plenty for a call that may use no more than one part in so many of what is free."""


def promise(cap: int, want: int, free: int) -> int:
    """Return what a budget with ``free`` left promises to a call: see ``Need``.

    Calls that say how much they may use ask for all of it (``want`` is ``cap``). The others share what is
    scarce by what they probably use, so that one call does not lock up what many could have used.
    """
    return min(cap, free, max(want, free // PLENTY))


class Need(NamedTuple):
    """What is reserved for a call.

    ``estimate`` is what it will probably use: rates hold it, and an overrun is a debt. ``cap`` is what it
    may use at most: budgets that have plenty hold it. Those that have not hold ``want``, or what is left,
    down to ``least``, and the call is cut to what they gave. ``charge`` is debited from rates if nobody
    settles in time. ``run`` draws from that run's reservation in the tenant's ledger.
    """

    estimate: Amounts
    cap: Hard = Hard()
    want: Hard = Hard()
    least: Hard = Hard()
    charge: Amounts = Amounts()
    run: str | None = None

    @classmethod
    def tokens(cls, quota: int = 0, charge: int = 0, requests: int = 1) -> Self:
        """Return the need of a call that only counts requests and tokens, for whoever has no more to say."""
        hard = Hard(quota)
        return cls(Amounts(requests, quota, quota, 0, 0), hard, hard, hard, Amounts(0, charge, charge, 0, 0))


def used_tokens(quota: int) -> Amounts:
    """Return the use of a call that only counts tokens (see ``Need.tokens``)."""
    return Amounts(0, quota, quota, 0, 0)
