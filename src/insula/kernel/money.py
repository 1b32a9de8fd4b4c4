"""Money is an integer number of nano-dollars. Floats never carry it."""

from __future__ import annotations

from decimal import Decimal

NANO_USD = 1_000_000_000


def usd(nano: int) -> str:
    """Return nano-dollars as an exact decimal string of dollars (``'0.000123000'`` -> ``'0.000123'``)."""
    text = format(Decimal(nano).scaleb(-9), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
