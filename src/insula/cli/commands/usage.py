"""``usage``."""

from __future__ import annotations

from typing import Annotated

import typer

from insula.cli import show
from insula.cli.commands.tenants import TenantArg
from insula.cli.paths import path
from insula.cli.place import Place


def register(app: typer.Typer) -> None:
    """Add ``insula usage``."""
    app.command("usage")(usage)


def usage(
    ctx: typer.Context,
    tenant: TenantArg,
    since: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="First day, UTC.")] = None,
    until: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Last day, UTC.")] = None,
) -> None:
    """Show a tenant's tokens and cost by model and day."""
    place: Place = ctx.obj
    with place.client() as client:
        report = client.get(path("tenants", tenant, "usage"), since=since, until=until)
    if place.as_json:
        show.as_json(report)
        return
    rows = [
        (
            r["day"],
            r["agent"],
            r["model"],
            r["calls"],
            r["input_tokens"],
            r["output_tokens"],
            f"${r['cost_usd']}",
        )
        for r in report["rows"]
    ]
    totals = report["totals"]
    if rows:
        rows.append(
            (
                "total",
                "",
                "",
                totals["calls"],
                totals["input_tokens"],
                totals["output_tokens"],
                f"${totals['cost_usd']}",
            )
        )
    show.table(
        ["day", "agent", "model", "calls", "input", "output", "cost"],
        rows,
        empty=f"{tenant} has used nothing in this time",
    )
