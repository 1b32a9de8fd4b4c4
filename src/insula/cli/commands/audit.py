"""``audit``."""

from __future__ import annotations

from typing import Annotated

import typer

from insula.cli import show
from insula.cli.exits import ExitCode
from insula.cli.paths import path
from insula.cli.place import Place


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula audit``."""
    noun.command("show")(show_)
    noun.command("verify")(verify)


def show_(
    ctx: typer.Context,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="A tenant, or `platform`.")] = "platform",
    after: Annotated[int, typer.Option(metavar="SEQ", help="Only records behind this one.")] = 0,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=200, help="At most so many.")] = 50,
) -> None:
    """Show audit records, oldest first."""
    place: Place = ctx.obj
    with place.client() as client:
        page = client.get(path("audit", "streams", stream), cursor=str(after) if after else None, limit=limit)
    if place.as_json:
        show.as_json(page)
        return
    rows = [
        (
            str(r["seq"]),
            show.when(r["at"]),
            r["action"],
            r["outcome"],
            show.brief(r["target"]),
            show.brief(r["actor"]),
            {name: show.brief(value) for name, value in r["details"].items()},
        )
        for r in page["items"]
    ]
    show.table(
        ["seq", "at", "action", "outcome", "target", "actor", "details"], rows, empty=f"{stream}: no records"
    )
    if page["next"]:
        show.say(f"more: insula audit show {stream} --after {page['next']}")


def verify(
    ctx: typer.Context,
    stream: Annotated[
        str | None, typer.Argument(metavar="STREAM", help="A tenant, or `platform`. [default: all]")
    ] = None,
) -> None:
    """Check the chains: any edit, removal or reorder is found. Works with the platform up or down.

    Ends with 3 when a chain does not hold.
    """
    from insula.cli.verify import verify_streams

    place: Place = ctx.obj
    report = verify_streams(place, stream)
    if place.as_json:
        show.as_json(report)
    else:
        rows = [
            (s["stream"], s["records"], "ok" if s["ok"] else "failed", s["problem"])
            for s in report["streams"]
        ]
        show.table(["stream", "records", "chain", "problem"], rows, empty="no audit records yet")
    if not report["ok"]:
        raise typer.Exit(ExitCode.PROBLEMS_FOUND)
