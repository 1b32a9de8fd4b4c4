"""``usage``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from insula.cli import sheet, show
from insula.cli.commands.tenants import TenantArg
from insula.cli.paths import path
from insula.cli.place import Place
from insula.kernel.errors import InvalidRequest


class By(StrEnum):
    """What one row spans."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class Form(StrEnum):
    """How usage is written."""

    TABLE = "table"
    CSV = "csv"
    FOCUS_CSV = "focus-csv"
    FOCUS_JSON = "focus-json"


def register(app: typer.Typer) -> None:
    """Add ``insula usage``."""
    app.command("usage")(usage)


def usage(
    ctx: typer.Context,
    tenant: TenantArg,
    since: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="First day, UTC.")] = None,
    until: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Last day, UTC.")] = None,
    by: Annotated[By, typer.Option(help="What one row spans.")] = By.DAY,
    form: Annotated[
        Form, typer.Option("--format", help="focus-...: the columns of FOCUS, for a --month.")
    ] = Form.TABLE,
    csv: Annotated[bool, typer.Option("--csv", help="The same as --format csv.")] = False,
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="For FOCUS. [default: the one that runs]")
    ] = None,
) -> None:
    """Show a tenant's tokens and cost by app, agent and model, for each hour, day or month."""
    place: Place = ctx.obj
    if form in {Form.FOCUS_CSV, Form.FOCUS_JSON}:
        if since or until:
            raise InvalidRequest("FOCUS goes by months", hint="give --month", field="month")
        _focus(place, tenant, month, form)
        return
    if month:
        raise InvalidRequest("--month is for FOCUS", hint="give --since and --until", field="month")
    with place.client() as client:
        report = client.get(path("tenants", tenant, "usage"), since=since, until=until, by=by.value)
    if csv or form is Form.CSV:
        sheet.as_csv(report["rows"], _COLUMNS)
    elif place.as_json:
        show.as_json(report)
    else:
        _print(tenant, report)


_COLUMNS = (
    *("period", "day", "app", "agent", "model", "calls", "input_tokens", "cache_read_tokens"),
    *("cache_write_tokens", "output_tokens", "reasoning_tokens", "quota_tokens", "fair_cost"),
    *("cost_nanousd", "cost_usd", "estimated_calls", "unpriced_calls"),
)
_SHOWN = ("period", "agent", "model", "calls", "input_tokens", "output_tokens")


def _print(tenant: str, report: dict[str, Any]) -> None:
    rows = [(*(row[name] for name in _SHOWN), f"${row['cost_usd']}", row["app"]) for row in report["rows"]]
    total = report["totals"]
    if rows:
        sums = (total["calls"], total["input_tokens"], total["output_tokens"])
        rows.append(("total", "", "", *sums, f"${total['cost_usd']}", ""))
    show.table(
        [report["by"], "agent", "model", "calls", "input", "output", "cost", "app"],
        rows,
        empty=f"{tenant} has used nothing in this time",
    )


def _focus(place: Place, tenant: str, month: str | None, form: Form) -> None:
    with place.client() as client:
        told = client.get(path("tenants", tenant, "usage", "focus"), month=month)
    if form is Form.FOCUS_JSON:
        show.as_json(told["rows"])
    else:
        sheet.as_csv(told["rows"], told["columns"])
