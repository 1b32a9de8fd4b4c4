"""What reaches the terminal: data on stdout, talk on stderr, a table for people, JSON for programs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from insula.cli.harmless import harmless

if TYPE_CHECKING:
    from rich.console import Console

_LONG = re.compile(r"[a-z0-9_]{26,}")
STATE_STYLES = {
    "succeeded": "green",
    "running": "cyan",
    "admitted": "cyan",
    "queued": "yellow",
    "failed": "red",
    "timed_out": "red",
    "refused": "red",
    "cancelled": "magenta",
    "active": "green",
    "suspended": "yellow",
    "passed": "green",
    "missing": "yellow",
    "later": "dim",
    "ok": "green",
}


def console(*, stderr: bool = False) -> Console:
    """Return a console that is plain when its stream is not a terminal."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=not _is_terminal(stderr))


def _is_terminal(stderr: bool) -> bool:
    return (sys.stderr if stderr else sys.stdout).isatty()


def as_json(data: Any) -> None:
    """Print ``data`` as one JSON value: on one line for programs, indented on a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    typer.echo(json.dumps(data, indent=indent, ensure_ascii=False))


def line(text: str) -> None:
    """Print one line of data."""
    typer.echo(text)


def say(text: str) -> None:
    """Print one line of talk."""
    typer.echo(text, err=True)


def output(text: str) -> None:
    """Print what an agent wrote: as it is into a pipe, without control characters on a terminal."""
    sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
    if text and not text.endswith("\n") and sys.stdout.isatty():
        sys.stdout.write("\n")
    sys.stdout.flush()


def done(text: str, *following: str) -> None:
    """Say what has changed, and which commands come next."""
    mark = "\x1b[32m✓\x1b[0m" if sys.stderr.isatty() and "NO_COLOR" not in os.environ else "✓"
    say(f"{mark} {text}")
    for number, command in enumerate(following):
        say(f"{'next:' if number == 0 else '     '} {command}")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "") -> None:
    """Print a table; numbers stand right, states are coloured. Without rows, say ``empty`` instead.

    When stdout is not a terminal: one line a row, cells separated by tabs, no heading.
    """
    held = [[_cell(value) for value in row] for row in rows]
    if not held and empty:
        say(empty)
        return
    if not sys.stdout.isatty():
        for row in held:
            line("\t".join(row))
        return
    console().print(_drawn(columns, held))


def _drawn(columns: Sequence[str], rows: list[list[str]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for number, name in enumerate(columns):
        right = bool(rows) and all(_numeric(row[number]) for row in rows)
        drawn.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell, style=STATE_STYLES.get(cell, "")) for cell in row))
    return drawn


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if sys.stdout.isatty() else str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_cell(part)}" for name, part in value.items()) or "-"
    text = str(value)
    return harmless(text) if sys.stdout.isatty() else text.replace("\t", " ").replace("\n", " ")


def brief(value: Any) -> Any:
    """Return a long id or digest with its middle left out, for a terminal; anything else as it is."""
    if not isinstance(value, str) or not sys.stdout.isatty():
        return value
    return _LONG.sub(lambda found: f"{found.group()[:4]}…{found.group()[-4:]}", value)


def _numeric(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "", 1).lstrip("$").isdigit()


def mark(status: str, text: str) -> None:
    """Print the outcome of one check."""
    colours = {"passed": "32", "missing": "33", "later": "2"}
    word = status.upper().ljust(8)
    bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    line(f"\x1b[{colours[status]}m{word}\x1b[0m  {text}" if bold else f"{word}  {text}")


def facts(pairs: Mapping[str, Any]) -> None:
    """Print names and values, aligned."""
    width = max(map(len, pairs))
    bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for name, value in pairs.items():
        label = name.ljust(width)
        line(f"\x1b[1m{label}\x1b[0m  {_cell(value)}" if bold else f"{label}  {_cell(value)}")


def when(stamp: str | None) -> str:
    """Return an RFC 3339 time as people write it, in UTC, to the second."""
    return "-" if stamp is None else stamp[:19].replace("T", " ")
