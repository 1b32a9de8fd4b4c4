"""``sim``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from insula.cli import show
from insula.cli.exits import ExitCode
from insula.cli.place import Place


class Donation(StrEnum):
    ON = "on"
    OFF = "off"
    BOTH = "both"


def register(app: typer.Typer) -> None:
    """Add ``insula sim``."""
    app.command("sim")(sim)


def sim(
    ctx: typer.Context,
    trace: Annotated[
        str,
        typer.Option(metavar="NAME|FILE", help="arena, azure, mooncake, servegen, agents, or a trace file."),
    ] = "arena",
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same figures.")] = 1,
    policy: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="fifo, rpm, wfq or wfq+drf. Repeat it.")
    ] = None,
    slots: Annotated[int | None, typer.Option(metavar="N", min=1, help="Calls at the same time.")] = None,
    tenants: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many, where the trace has none of its own.")
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(metavar="H", min=0.01, max=168, help="How long agents or ServeGen's clients work."),
    ] = None,
    rpm: Annotated[int | None, typer.Option(metavar="N", min=1, help="The limit of the policy rpm.")] = None,
    known: Annotated[
        bool, typer.Option("--known", help="Know lengths in advance instead of learning.")
    ] = False,
    faults: Annotated[
        bool, typer.Option("--faults", help="Crashes, clock jumps, settlements gone wrong.")
    ] = False,
    donation: Annotated[
        Donation, typer.Option(help="Whether waiting runs lend their reservation; both compares.")
    ] = Donation.ON,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write service, waiting and gap as SVG and PNG.")
    ] = None,
) -> None:
    """Simulate a load under several policies, and check every promise. Needs no platform."""
    from insula.simulation import compare

    place: Place = ctx.obj
    comparison = compare.compare(
        trace,
        seed,
        policies=policy or None,
        slots=slots,
        tenants=tenants,
        hours=hours,
        rpm=rpm,
        learned=not known,
        faults=faults,
        donation=donation.value,
        told=show.say,
    )
    if plots is not None:
        from insula.simulation.plots import draw

        for path in draw(comparison.setup, comparison.outcomes, plots):
            show.say(f"wrote {path}")
    report = comparison.report
    show.as_json(report) if place.as_json else _print(report)
    if report["violations"]:
        raise typer.Exit(ExitCode.PROBLEMS_FOUND)


def _print(report: dict[str, Any]) -> None:
    trace, service = report["trace"], report["service"]
    show.say(
        f"{trace['name']}: {trace['calls']:,} calls of {trace['tenants']:,} tenants, "
        f"{service['slots']} slots, seed {report['seed']}; "
        f"small: the {trace['small_tenants']} tenants with the fewest calls"
    )
    show.table(
        ["policy", "small p50", "small p95", "all p95", "busy", "Jain", "gap/bound", "refused", "overshoot"],
        [_row(one) for one in report["policies"]],
    )
    lending = report.get("lending")
    if lending:
        show.say(
            f"donation: {lending['refused_without']:,} of {lending['draws']:,} draws refused without, "
            f"{lending['refused_with']:,} with ({lending['ratio']:.1%})"
        )
    for violation in report["violations"]:
        told = "; ".join(violation["examples"])
        show.say(
            f"NOT HELD  {violation['policy']}  {violation['property']}: {violation['count']} times: {told}"
        )
    if not report["violations"]:
        checks = sum(sum(one["checks"].values()) for one in report["policies"])
        show.say(
            f"{checks:,} checks, all held: no overshoot, gap within its bound, books equal to the nano-dollar"
        )


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    small, everyone = one["waiting_s"]["small"], one["waiting_s"]["all"]
    refusals = one["refusals"]["calls"] + one["refusals"]["runs"]
    waits = (f"{small['p50']:.1f} s", f"{small['p95']:.1f} s", f"{everyone['p95']:.1f} s")
    busy, jain, gap = f"{one['utilisation']:.1%}", f"{one['jain']:.3f}", f"{one['gap']['ratio']:.2f}"
    return (one["policy"], *waits, busy, jain, gap, refusals, one["overshoot"])
