"""Money is an integer number of nano-dollars. Floats never carry it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from insula.kernel.errors import InvalidRequest

NANO_USD = 1_000_000_000


def usd(nano: int) -> str:
    """Return nano-dollars as an exact decimal string of dollars (``'0.000123000'`` -> ``'0.000123'``)."""
    text = format(Decimal(nano).scaleb(-9), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def nanousd(value: object, field: str) -> int:
    """Return an amount of dollars, written as a decimal (``12.50``), as nano-dollars.

    Raises ``InvalidRequest`` for anything that is no finite number or is finer than a nano-dollar.
    """
    hint = "write dollars as a decimal with at most nine places, such as 12.50"
    try:
        exact = Decimal(str(value)) if isinstance(value, str | int | float | Decimal) else Decimal("NaN")
        if isinstance(value, bool) or not exact.is_finite() or abs(exact) > 10**12:
            raise InvalidOperation
        nano = exact.scaleb(9)
        whole = int(nano)
    except (InvalidOperation, ValueError, OverflowError):
        raise InvalidRequest(
            f"{field} is {str(value)[:60]!r}, not an amount", hint=hint, field=field
        ) from None
    if nano != whole:
        raise InvalidRequest(f"{field} is finer than a nano-dollar", hint=hint, field=field)
    return whole
