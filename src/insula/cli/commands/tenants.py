"""``tenant`` and ``tier``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from insula.cli import show
from insula.cli.overrides import parse_overrides
from insula.cli.paths import path
from insula.cli.place import Place
from insula.kernel.errors import InvalidRequest

TenantArg = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Override a cell of the tier, such as compute=microvm. Repeat it."
    ),
]


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula tenant``."""
    noun.command("create")(create)
    noun.command("list")(list_)
    noun.command("show")(show_)
    noun.command("set")(set_)
    noun.command("suspend")(suspend)
    noun.command("resume")(resume)
    noun.command("delete")(delete)


def register_tier(noun: typer.Typer) -> None:
    """Add the commands of ``insula tier``."""
    noun.command("plan")(plan)


def create(
    ctx: typer.Context,
    tenant: TenantArg,
    tier: Annotated[str, typer.Option(metavar="TIER", help="free, pro, enterprise or dedicated.")] = "free",
    settings: SetOption = None,
) -> None:
    """Create a tenant."""
    place: Place = ctx.obj
    with place.client() as client:
        made = client.post(
            "/tenants", {"id": tenant, "tier": tier, "overrides": parse_overrides(settings or [])}
        )
    if place.as_json:
        show.as_json(made)
        return
    show.done(
        f"tenant {tenant} on tier {made['tier']} ({made['profile']['compute']} or stronger)",
        f"insula entitle {tenant} MODEL",
        f"insula agent deploy {tenant} DIR",
    )


def list_(ctx: typer.Context) -> None:
    """List the tenants."""
    place: Place = ctx.obj
    with place.client() as client:
        tenants = list(client.items("/tenants"))
    if place.as_json:
        show.as_json({"items": tenants})
        return
    rows = [
        (t["id"], t["tier"], t["state"], t["profile"]["compute"], show.when(t["created_at"])) for t in tenants
    ]
    show.table(
        ["tenant", "tier", "state", "compute floor", "created"],
        rows,
        empty="no tenants yet; next: insula tenant create ID --tier TIER",
    )


def show_(ctx: typer.Context, tenant: TenantArg) -> None:
    """Show a tenant and the isolation that its tier means."""
    place: Place = ctx.obj
    with place.client() as client:
        found = client.get(path("tenants", tenant))
    show.as_json(found) if place.as_json else _print(found)


def _print(tenant: dict[str, Any]) -> None:
    profile = tenant["profile"]
    show.facts(
        {
            "tenant": tenant["id"],
            "tier": tenant["tier"],
            "state": tenant["state"],
            "created": show.when(tenant["created_at"]),
            "weight": tenant["weight"],
            "overrides": tenant["overrides"],
            "exceptions": profile["exceptions"],
            "compute": f"{profile['compute']} or stronger",
            "pool": profile["pool"],
            "relational": profile["state"],
            "vectors": profile["vectors"],
            "inference": profile["inference"],
            "lanes": profile["lanes"],
            **{f"sandbox {name}": value for name, value in profile["sandbox"].items()},
        }
    )


def set_(
    ctx: typer.Context,
    tenant: TenantArg,
    tier: Annotated[str | None, typer.Option(metavar="TIER", help="The new tier.")] = None,
    weight: Annotated[
        str | None,
        typer.Option(metavar="W", help="Its share where tenants queue, such as 2, 1.5 or 1/2."),
    ] = None,
    settings: SetOption = None,
    clear: Annotated[
        list[str] | None, typer.Option("--clear", metavar="NAME", help="Drop an override. Repeat it.")
    ] = None,
) -> None:
    """Change a tenant's tier, weight or overrides. `insula tier plan` shows beforehand what moves."""
    if tier is None and weight is None and not settings and not clear:
        raise InvalidRequest("nothing to set", hint="give --tier, --weight, --set NAME=VALUE or --clear NAME")
    place: Place = ctx.obj
    changes: dict[str, Any] = {"tier": tier} if tier else {}
    if weight is not None:
        changes["weight"] = weight
    overrides: dict[str, Any] = {**parse_overrides(settings or []), **dict.fromkeys(clear or [])}
    if overrides:
        changes["overrides"] = overrides
    with place.client() as client:
        changed = client.patch(path("tenants", tenant), changes)
    if place.as_json:
        show.as_json(changed)
    else:
        show.done(
            f"tenant {tenant} is on tier {changed['tier']} ({changed['profile']['compute']} or stronger), "
            f"weight {changed['weight']:g}"
        )


def suspend(ctx: typer.Context, tenant: TenantArg) -> None:
    """Stop a tenant at once: its tokens, keys and doors are refused from now on."""
    _act(ctx, tenant, "suspend", "is suspended", f"insula tenant resume {tenant}")


def resume(ctx: typer.Context, tenant: TenantArg) -> None:
    """Let a suspended tenant work again."""
    _act(ctx, tenant, "resume", "is active")


def _act(ctx: typer.Context, tenant: str, verb: str, outcome: str, *following: str) -> None:
    place: Place = ctx.obj
    with place.client() as client:
        changed = client.post(path("tenants", tenant, verb))
    show.as_json(changed) if place.as_json else show.done(f"tenant {tenant} {outcome}", *following)


def delete(
    ctx: typer.Context,
    tenant: TenantArg,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a tenant: destroy its key, so that nothing it owned can be read again. Prints the receipt."""
    place: Place = ctx.obj
    if not yes:
        _confirm(tenant)
    with place.client() as client:
        receipt = client.delete(path("tenants", tenant))
    if place.as_json:
        show.as_json(receipt)
        return
    show.facts(receipt)
    show.done(f"tenant {tenant} is deleted; its data can't be read by anyone")


def _confirm(tenant: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidRequest("deleting a tenant needs to be confirmed", hint="add --yes", field="yes")
    if typer.prompt(f"This can't be undone. Type {tenant} to delete it", err=True) != tenant:
        raise InvalidRequest("the name did not match; nothing was deleted", field="tenant")


def plan(
    ctx: typer.Context,
    tenant: TenantArg,
    tier: Annotated[str, typer.Argument(metavar="TIER", help="The tier to compare with.")],
) -> None:
    """Show what a change of tier would move. Changes nothing."""
    place: Place = ctx.obj
    with place.client() as client:
        planned = client.get(path("tenants", tenant, "tier-plan"), tier=tier)
    if place.as_json:
        show.as_json(planned)
        return
    moves = planned["moves"]
    show.table(
        ["aspect", "now", f"on {tier}", "effect"],
        [(m["aspect"], m["before"], m["after"], m["effect"]) for m in moves],
        empty=f"nothing moves: {tenant} on {tier} is isolated as it is now",
    )
    if moves:
        show.done(
            f"{len(moves)} aspects would move; nothing has changed",
            f"insula tenant set {tenant} --tier {tier}",
        )
