"""``fairness``."""

from __future__ import annotations

from typing import Any

import typer

from insula.cli import show
from insula.cli.place import Place


def register(app: typer.Typer) -> None:
    """Add ``insula fairness``."""
    app.command("fairness")(fairness)


def fairness(ctx: typer.Context) -> None:
    """Show what tenants were entitled to where they queue, and what they received."""
    place: Place = ctx.obj
    with place.client() as client:
        shown = client.get("/fairness")
    if place.as_json:
        show.as_json(shown)
        return
    show.table(
        ["queue", "tenant", "weight", "entitled", "received", "gap", "waiting", "in flight", "served"],
        [_tenant(queue, tenant) for queue in shown["queues"] for tenant in queue["tenants"]],
        empty="nobody has queued yet; bound an endpoint: insula endpoint set NAME --slots N",
    )
    show.table(
        ["queue", "tier", "lane", "served", "wait p50", "p95", "p99", "longest"],
        [_times(queue, times) for queue in shown["queues"] for times in queue["waiting_times"]],
    )
    for queue in shown["queues"]:
        if queue["dispatches"]:
            show.say(f"{queue['name']}: gap {queue['gap']:.0%} of its bound, Jain index {queue['jain']:.3f}")
    show.say(
        f"tokens donated {shown['donated_tokens']}, reclaimed {shown['reclaimed_tokens']}, "
        f"owed {shown['debt_tokens']}, held {shown['held_tokens']}; "
        f"{shown['fail_open_seconds']:.0f} s without the store of limits"
    )


def _tenant(queue: dict[str, Any], tenant: dict[str, Any]) -> list[Any]:
    return [
        queue["name"],
        tenant["tenant"],
        f"{tenant['weight']:g}",
        _percent(tenant["entitled_share"]),
        _percent(tenant["received_share"]),
        _percent(tenant["gap"]),
        tenant["waiting"],
        tenant["in_flight"],
        tenant["dispatches"],
    ]


def _times(queue: dict[str, Any], times: dict[str, Any]) -> list[Any]:
    waits = (times[name] for name in ("p50_s", "p95_s", "p99_s", "largest_s"))
    return [queue["name"], times["tier"], times["lane"], times["count"], *(f"{wait:.3f} s" for wait in waits)]


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"
