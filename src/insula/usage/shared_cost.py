"""A cost that no single call causes, such as an idle accelerator: recorded for a month, then split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from insula.kernel.errors import InvalidRequest
from insula.kernel.money import NANO_USD
from insula.usage.period import Month
from insula.usage.sharing import share

MOST_SHARED_NANOUSD = 10**18
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?", re.ASCII)


class Basis(StrEnum):
    """What a shared cost is split by."""

    COST = "cost"  # what each tenant's calls cost in the month
    USAGE = "usage"  # dominant time: how long they held the resource they needed most


@dataclass(frozen=True, slots=True)
class Weights:
    """What a tenant weighs in one month, by each basis: nano-dollars and dominant nanoseconds."""

    cost: int
    usage: int


@dataclass(frozen=True, slots=True)
class SharedCost:
    """An amount that all tenants who used anything in ``month`` bear together.

    Raises ``InvalidRequest`` naming the field.
    """

    name: str
    month: Month
    nanousd: int
    by: Basis

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            hint = "small letters, digits and dashes, at most 48"
            raise InvalidRequest(f"{self.name[:60]!r} is no name for a cost", hint=hint, field="name")
        if not 0 < self.nanousd <= MOST_SHARED_NANOUSD:
            raise InvalidRequest(
                "the amount is out of range", hint="above 0, up to 10^9 dollars", field="usd"
            )

    def parts(self, weights: Mapping[str, Weights]) -> dict[str, int]:
        """Return each tenant's part in nano-dollars; empty while nobody weighs anything."""
        chosen = {name: one.cost if self.by is Basis.COST else one.usage for name, one in weights.items()}
        return share(self.nanousd, chosen) if any(chosen.values()) else {}


def nano_of(usd: object) -> int:
    """Return the nano-dollars of an exact decimal such as ``12.50``.

    Raises ``InvalidRequest`` for what is no number, or finer than a nano-dollar: nothing is rounded.
    """
    try:
        amount = Decimal(usd) if isinstance(usd, str | int) and not isinstance(usd, bool) else Decimal("nan")
        nano = amount * NANO_USD
        if not nano.is_finite() or abs(nano) > MOST_SHARED_NANOUSD or nano != nano.to_integral_value():
            raise InvalidOperation
    except InvalidOperation:
        hint = "write dollars as 12.50, at most nine digits behind the point"
        raise InvalidRequest(f"{str(usd)[:40]!r} is no amount", hint=hint, field="usd") from None
    return int(nano)
