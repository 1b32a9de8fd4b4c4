"""An operator's own prices: for models that no list knows, or that were negotiated. Read from a TOML file."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

from insula.kernel.errors import Misconfigured

_FIELDS = ("model", "input", "output", "cache_read", "cache_write", "cache_write_1h")
_ATTO_PER_MTOK = 10**12  # a dollar per million tokens is 10**12 atto-dollars per token
_MOST = 10**6
_MOST_BYTES = 1_000_000


class OwnPrice(NamedTuple):
    """Atto-dollars per token. What has no price of its own costs what it is a part of."""

    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int


class OwnPrices(NamedTuple):
    """Prices by model id, and the version that is written beside every cost made with them."""

    prices: Mapping[str, OwnPrice] = {}
    version: str = ""


def load_prices(path: Path | None) -> OwnPrices:
    """Return the prices of a file: tables called ``price``, dollars per million tokens. Blocking.

    Raises ``Misconfigured`` naming the row, the field and the fix; then nothing is used.
    """
    if path is None:
        return OwnPrices()
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}", "correct the setting prices") from None
    if len(text) > _MOST_BYTES:
        raise _wrong(path, f"is larger than {_MOST_BYTES} bytes", "keep it small")
    try:
        document = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise _wrong(path, f"is not TOML: {error}", "correct it there") from None
    rows = document.get("price", [])
    if set(document) - {"price"} or not isinstance(rows, list):
        raise _wrong(path, "holds something else than tables called price", "begin each with [[price]]")
    found: dict[str, OwnPrice] = {}
    for number, row in enumerate(rows, 1):
        model, price = _price(path, number, row)
        if model in found:
            raise _wrong(path, f"row {number} prices {model} a second time", "keep one of them")
        found[model] = price
    return OwnPrices(found, f"own/{hashlib.sha256(text).hexdigest()[:12]}")


def _price(path: Path, number: int, row: Any) -> tuple[str, OwnPrice]:
    if not isinstance(row, dict):
        raise _wrong(path, f"row {number} is no table", "begin it with [[price]]")
    for name in row:
        if name not in _FIELDS:
            raise _wrong(
                path, f"row {number} has an unknown field {name[:40]!r}", f"use {', '.join(_FIELDS)}"
            )
    model = row.get("model")
    if not isinstance(model, str) or not model:
        raise _wrong(path, f"row {number} names no model", 'write model = "..."')
    for name in ("input", "output"):
        if name not in row:
            raise _wrong(path, f"row {number} ({model}) has no {name}", f'write {name} = "1.50"')
    read = _atto(path, number, row, "input")
    written = _atto(path, number, row, "cache_write", read)
    return model, OwnPrice(
        input=read,
        cache_read=_atto(path, number, row, "cache_read", read),
        cache_write=written,
        cache_write_1h=_atto(path, number, row, "cache_write_1h", written),
        output=_atto(path, number, row, "output"),
    )


def _atto(path: Path, number: int, row: dict[str, Any], name: str, missing: int = 0) -> int:
    value = row.get(name)
    if value is None:
        return missing
    try:
        dollars = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
        atto = dollars * _ATTO_PER_MTOK
        if not dollars.is_finite() or not 0 <= dollars <= _MOST or atto != int(atto):
            raise InvalidOperation
    except (InvalidOperation, ValueError):
        fix = f'write dollars per million tokens, from 0 to {_MOST}, such as "1.50"'
        raise _wrong(path, f"row {number}: {name} is {str(value)[:40]!r}", fix) from None
    return int(atto)


def _wrong(path: Path, problem: str, fix: str) -> Misconfigured:
    return Misconfigured(f"{path.name} {problem}", hint=fix, field="prices")
