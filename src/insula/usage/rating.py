"""Re-rating: what a call is found to cost later, as a correction beside the event. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from insula.usage.event import UNPRICED, UsageEvent

Rate = Callable[[UsageEvent], tuple[int, str]]
"""Returns the cost of a call in nano-dollars, and the version of the price list that says so."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What was corrected of one event so far: in sum, and in how many corrections."""

    delta_nanousd: int = 0
    delta_unpriced: int = 0
    corrections: int = 0


@dataclass(frozen=True, slots=True)
class Correction:
    """One row beside an event: ``number`` counts the event's corrections from 1."""

    event: UsageEvent
    number: int
    delta_nanousd: int
    delta_unpriced: int
    price_version: str


@dataclass(frozen=True, slots=True)
class Rerated:
    """How many calls were looked at, how many were corrected, and by how much in sum."""

    calls: int = 0
    corrected: int = 0
    delta_nanousd: int = 0

    def __add__(self, other: Rerated) -> Rerated:
        return Rerated(
            self.calls + other.calls,
            self.corrected + other.corrected,
            self.delta_nanousd + other.delta_nanousd,
        )


def correct(event: UsageEvent, standing: Standing, rate: Rate) -> Correction | None:
    """Return what has to be added for ``event`` to cost what ``rate`` says; ``None`` if it does already.

    To rate twice with the same prices changes nothing. A price list that lost a model takes nothing back.
    """
    cost, version = rate(event)
    if version == UNPRICED:
        return None
    delta = cost - event.cost_nanousd - standing.delta_nanousd
    unpriced = -(int(event.price_version == UNPRICED) + standing.delta_unpriced)
    if not delta and not unpriced:
        return None
    return Correction(event, standing.corrections + 1, delta, unpriced, version)
