"""Reads the table: the rows that come with the program, and an operator's own above them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from insula.governance.burndown.burn import Burn
from insula.governance.burndown.row import Row
from insula.governance.burndown.table import Burndown
from insula.kernel.errors import Misconfigured

_MOST_BYTES = 1_000_000
_MOST_ROWS = 5_000


def load(own: Path | None = None, warn: Callable[[Burn], None] | None = None) -> Burndown:
    """Return the table, with the rows of the file ``own`` ahead of those that come with the program.

    Blocking. Raises ``Misconfigured`` naming the row, the field and the fix; then nothing is used.
    """
    shipped = (files("insula.governance.burndown") / "rates.toml").read_text()
    rows = parse(shipped, "rates.toml")
    if own is not None:
        rows = (*parse(_read(own), str(own.name), own=True), *rows)
    return Burndown(rows, warn)


def parse(text: str, name: str, *, own: bool = False) -> tuple[Row, ...]:
    """Return the rows of a TOML text: tables called ``row``. Raises ``Misconfigured``."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Misconfigured(
            f"{name} is not TOML: {error}", hint="correct it there", field="burndown"
        ) from None
    for found in document:
        if found != "row":
            raise Misconfigured(
                f"{name} has a table {found[:60]!r} that nobody knows",
                hint="begin each row with [[row]]",
                field=found[:60],
            )
    given = document.get("row", [])
    if not isinstance(given, list) or len(given) > _MOST_ROWS:
        raise Misconfigured(
            f"{name}: row is not a list of at most {_MOST_ROWS}",
            hint="begin each row with [[row]]",
            field="row",
        )
    rows = tuple(Row.parse(row, f"{name}, row {at}", own=own) for at, row in enumerate(given, 1))
    _no_doubles(rows, name)
    return rows


def _no_doubles(rows: tuple[Row, ...], name: str) -> None:
    """Two rows for the same models from the same day would leave the answer to their order."""
    seen: set[str] = set()
    for row in rows:
        if row.burn.version in seen:
            raise Misconfigured(
                f"{name} states {row.burn.version} twice",
                hint="keep one, or give the later one its own effective_from",
                field="effective_from",
            )
        seen.add(row.burn.version)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise Misconfigured(
                f"{path} is larger than {_MOST_BYTES} bytes", hint="keep only your own rows", field="burndown"
            )
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"the burndown file {path} can't be read: {error}",
            hint="correct INSULA_BURNDOWN, or leave it out",
            field="burndown",
        ) from None
