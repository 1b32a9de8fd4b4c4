"""``up``, ``doctor``, ``demo`` and the help topic ``exit-codes``."""

from __future__ import annotations

from typing import Annotated

import typer

from insula.cli import show
from insula.cli.exits import MEANINGS, ExitCode
from insula.cli.place import Place


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("demo")(demo)
    app.command("up")(up)
    app.command("doctor")(doctor)
    app.command("exit-codes")(exit_codes)


def demo(ctx: typer.Context) -> None:
    """Two tenants at once on a real model, each trying to harm the other."""
    from insula.cli.demo import run_demo

    place: Place = ctx.obj
    raise typer.Exit(run_demo(json_output=place.as_json))


def up(
    ctx: typer.Context,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="N", help="Port of the control plane; 0 picks one. [default: 8420]")
    ] = None,
    gateway_port: Annotated[
        int | None, typer.Option(metavar="N", help="Port of the gateway; 0 picks one. [default: 8421]")
    ] = None,
    local_model: Annotated[
        bool | None,
        typer.Option("--local-model", help="Serve the small local model too (extra `local-model`)."),
    ] = None,
    trust: Annotated[
        str | None,
        typer.Option(metavar="saas|internal", help="Who the tenants are to each other. [default: saas]"),
    ] = None,
) -> None:
    """Run the platform on this machine, in the foreground, until Ctrl-C or SIGTERM.

    With --json: one line {"api", "gateway", "token", "pid"} on stdout as soon as it is ready.
    """
    from insula.cli.up import run_up

    place: Place = ctx.obj
    run_up(place, host=host, port=port, gateway_port=gateway_port, trust=trust, local_model=local_model)


def doctor(
    ctx: typer.Context,
    trust: Annotated[
        str | None,
        typer.Option(metavar="saas|internal", help="Judge for this trust. [default: the platform's]"),
    ] = None,
) -> None:
    """What this host can isolate with, what is missing, and the fix.

    Works with and without a running platform. Ends with 3 when no agent could run here.
    """
    from insula.cli.doctor import examine, render

    place: Place = ctx.obj
    found = examine(place, trust)
    show.as_json(found) if place.as_json else render(found)
    if not found["ok"]:
        raise typer.Exit(ExitCode.PROBLEMS_FOUND)


def exit_codes(ctx: typer.Context) -> None:
    """What the exit codes mean."""
    place: Place = ctx.obj
    if place.as_json:
        show.as_json({str(int(code)): meaning for code, meaning in MEANINGS.items()})
    else:
        show.table(["code", "meaning"], [(str(int(code)), meaning) for code, meaning in MEANINGS.items()])
