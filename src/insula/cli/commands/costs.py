"""``invoice`` and ``cost``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from insula.cli import sheet, show
from insula.cli.commands.tenants import TenantArg
from insula.cli.paths import path
from insula.cli.place import Place

MonthOption = Annotated[str | None, typer.Option(metavar="YYYY-MM", help="UTC. [default: the one that runs]")]
NameArg = Annotated[str, typer.Argument(metavar="NAME", help="What it is: idle-gpu, platform.")]
_LINE = (
    "app",
    "agent",
    "model",
    "first_day",
    "last_day",
    "calls",
    "input_tokens",
    "output_tokens",
    "cost_usd",
)


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula cost``."""
    noun.command("add")(add)
    noun.command("list")(list_)
    noun.command("remove")(remove)
    noun.command("rerate")(rerate)


def register_invoice(app: typer.Typer) -> None:
    """Add ``insula invoice``."""
    app.command("invoice")(invoice)


def invoice(
    ctx: typer.Context,
    tenant: TenantArg,
    month: MonthOption = None,
    csv: Annotated[bool, typer.Option("--csv", help="Lines as CSV.")] = False,
) -> None:
    """Show what a tenant owes for a month, line by line. The one that runs is preliminary."""
    place: Place = ctx.obj
    with place.client() as client:
        drawn = client.get(path("tenants", tenant, "invoice"), month=month)
    if drawn["preliminary"]:
        show.say(f"preliminary: {drawn['month']} is not over")
    if csv:
        sheet.as_csv(_sheet(drawn))
    elif place.as_json:
        show.as_json(drawn)
    else:
        _print(drawn)


def add(
    ctx: typer.Context,
    name: NameArg,
    usd: Annotated[str, typer.Option(metavar="X", help="Dollars: 12.50.")],
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="The month that bears it.")],
    by: Annotated[
        str, typer.Option(metavar="BASIS", help="`cost`: what calls cost; `usage`: dominant time.")
    ] = "cost",
) -> None:
    """Share a cost among all tenants that used anything in a month."""
    place: Place = ctx.obj
    with place.client() as client:
        made = client.post("/costs", {"name": name, "usd": usd, "month": month, "by": by})
    if place.as_json:
        show.as_json(made)
        return
    show.done(f"{name}: ${made['usd']} shared in {month} by {by}", f"insula cost list --month {month}")


def list_(ctx: typer.Context, month: MonthOption = None) -> None:
    """List the costs that are shared in a month, with each tenant's part."""
    place: Place = ctx.obj
    with place.client() as client:
        found = client.get("/costs", month=month)
    if place.as_json:
        show.as_json(found)
        return
    rows = [
        (one["name"], one["by"], f"${one['usd']}", sheet.dollars(one["parts_nanousd"]))
        for one in found["items"]
    ]
    show.table(["name", "by", "cost", "parts"], rows, empty=f"nothing is shared in {found['month']}")


def remove(
    ctx: typer.Context,
    name: NameArg,
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="The month that bears it.")],
) -> None:
    """Take a shared cost back."""
    place: Place = ctx.obj
    with place.client() as client:
        gone = client.delete(path("costs", month, name))
    show.as_json(gone) if place.as_json else show.done(f"{name} is no longer shared in {month}")


def rerate(
    ctx: typer.Context,
    tenant: TenantArg,
    since: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="First day, UTC.")],
    until: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Last day, UTC.")],
) -> None:
    """Correct what a tenant's calls cost, by the prices of today. Nothing that was written is edited."""
    place: Place = ctx.obj
    with place.client() as client:
        done = client.slow_post(path("tenants", tenant, "usage", "rerate"), {"since": since, "until": until})
    if place.as_json:
        show.as_json(done)
        return
    show.done(f"{done['corrected']} of {done['calls']} calls corrected, ${done['delta_usd']} in sum")


def _print(drawn: dict[str, Any]) -> None:
    rows: list[tuple[Any, ...]] = [
        (*(line[name] for name in _LINE[:-1]), f"${line['cost_usd']}") for line in drawn["lines"]
    ]
    blank = ("",) * (len(_LINE) - 2)
    rows += [(f"shared: {part['name']}", *blank, f"${part['cost_usd']}") for part in drawn["shared_lines"]]
    if rows:
        rows.append(("total", *blank, f"${drawn['total_usd']}"))
    heads = ("app", "agent", "model", "from", "to", "calls", "input", "output", "cost")
    show.table(heads, rows, empty=f"{drawn['tenant']} owes nothing for {drawn['month']}")
    if drawn["unpriced_calls"]:
        show.say(f"{drawn['unpriced_calls']} calls to models without a known price are in it as 0")


def _sheet(drawn: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines as flat rows, shared costs among them."""
    direct = [{"kind": "direct", "name": None, **line} for line in drawn["lines"]]
    empty = dict.fromkeys(direct[0]) if direct else {}
    shared = [{**empty, "kind": "shared", **_flat(part)} for part in drawn["shared_lines"]]
    fixed = {"tenant": drawn["tenant"], "month": drawn["month"], "preliminary": drawn["preliminary"]}
    return [{**fixed, **line} for line in direct + shared]


def _flat(part: dict[str, Any]) -> dict[str, Any]:
    return {name: part[name] for name in ("name", "cost_nanousd", "cost_usd")}
