"""Rows for spreadsheets: CSV as RFC 4180 has it, decimals as they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from insula.cli import show
from insula.kernel.money import usd


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Print ``rows`` with a heading; without rows, the heading alone if ``columns`` are known."""
    names = list(columns or (rows[0] if rows else ()))
    written = io.StringIO()
    writer = csv.DictWriter(written, names, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    show.output(written.getvalue())


def dollars(parts: Mapping[str, int]) -> dict[str, str]:
    """Return amounts in nano-dollars as people read them."""
    return {name: f"${usd(nano)}" for name, nano in parts.items()}


def _cell(value: Any) -> Any:
    """Return ``value`` so that a spreadsheet takes no text for a formula."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value[:1] in {"=", "+", "@", "\t", "\r"}:
        return f"'{value}"
    return value
