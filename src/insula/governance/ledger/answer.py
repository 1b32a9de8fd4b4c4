"""What the ledger answers: grants, and refusals that say whose fault it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Opened:
    """A reservation stands. ``granted`` may be less than was wanted: the rest is drawn as it comes."""

    granted: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """Tokens were used: ``own`` out of the reservation, ``pool`` out of what was free (or as a debt).

    ``late``: the reservation had ended before.
    """

    own: int
    pool: int
    late: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """A call may use ``granted`` tokens and no more. For a raise: what came on top."""

    granted: int


@dataclass(frozen=True, slots=True)
class Settled:
    """A call ended: ``used`` was debited now, ``returned`` went back where it came from.

    ``overrun`` is the part of ``used`` that no hold covered. ``late``: the hold had ended before.
    """

    used: int
    returned: int
    overrun: int = 0
    late: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """A reservation ended: what it and its children used in all, and what went back."""

    used: int
    returned: int


@dataclass(frozen=True, slots=True)
class Donated:
    """What a reservation gave to the others."""

    amount: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a reservation that works again still waits for; 0 when it has all of it back."""

    amount: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """What time alone did: reservations and calls that expired, tokens donated."""

    donated: int
    expired: tuple[str, ...] = ()
    lapsed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The period's tokens are used up: no work that ends could make room. Wait for the next period."""

    asked: int
    free: int
    limit: int
    settled: int


@dataclass(frozen=True, slots=True)
class Full:
    """Running work holds what is left: it comes free when that ends or waits.

    ``free`` could be had now; ``donatable`` would come free if every reservation went idle; ``reserved``
    and ``held`` are what reservations and calls hold; ``claimed`` is what is owed to reservations that
    work again. ``level`` says whose tokens were asked for: the tenant's, or the parent reservation's.
    """

    asked: int
    free: int
    donatable: int
    reserved: int
    held: int
    claimed: int
    level: Literal["tenant", "parent"] = "tenant"


@dataclass(frozen=True, slots=True)
class Stale:
    """A repetition of something so old that its answer is forgotten. Nothing was done."""


Refusal = Exhausted | Full
Answer = Opened | Drawn | Held | Settled | Closed | Donated | Claimed | Exhausted | Full | Stale
