"""``ledger``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from insula.cli import show
from insula.cli.exits import ExitCode
from insula.cli.place import Place


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula ledger``."""
    noun.command("check")(check)


def check(
    ctx: typer.Context,
    tenant: Annotated[
        str | None, typer.Argument(metavar="TENANT", help="Only this one. [default: all]")
    ] = None,
) -> None:
    """Check every debit, total and invoice against the calls, to the unit.

    Ends with 3 when a figure contradicts another.
    """
    place: Place = ctx.obj
    with place.client() as client:
        checked = client.slow_get("/ledger/check", tenant=tenant)
    show.as_json(checked) if place.as_json else _print(checked)
    if checked["mismatches"]:
        raise typer.Exit(ExitCode.PROBLEMS_FOUND)


def _print(checked: dict[str, Any]) -> None:
    columns = ("account", "tenant", "where", "field", "expected", "found")
    rows = [[one[name] for name in columns] for one in checked["details"]]
    if rows:
        show.table(columns, rows)
    show.say(f"{checked['calls']} calls, {checked['mismatches']} mismatches")
    if checked["unverified"]:
        show.say(f"{checked['unverified']} calls were debited at rates that the burndown no longer has")
