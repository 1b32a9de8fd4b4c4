"""``limit``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from insula.cli import show
from insula.cli.paths import path
from insula.cli.place import Place
from insula.kernel.errors import InvalidRequest

ScopeArg = Annotated[
    str, typer.Argument(metavar="SCOPE", help="`platform`, a TENANT, or one agent as TENANT/AGENT.")
]
_FIELDS = ("rpm", "tpm", "in_flight", "rpm_burst", "tpm_burst")


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula limit``."""
    noun.command("set")(set_)
    noun.command("show")(show_)


def set_(
    ctx: typer.Context,
    scope: ScopeArg,
    rpm: Annotated[int | None, typer.Option(metavar="N", help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(metavar="N", help="Tokens a minute.")] = None,
    in_flight: Annotated[int | None, typer.Option(metavar="N", help="Calls at the same time.")] = None,
    rpm_burst: Annotated[
        int | None, typer.Option(metavar="N", help="Requests at once after a pause.")
    ] = None,
    tpm_burst: Annotated[int | None, typer.Option(metavar="N", help="Tokens at once after a pause.")] = None,
    unlimited: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Lift one of rpm, tpm, in-flight. Repeat it.")
    ] = None,
) -> None:
    """Set limits of a level; those not named stay as they are. They hold from the next call on."""
    place: Place = ctx.obj
    given = (rpm, tpm, in_flight, rpm_burst, tpm_burst)
    changes: dict[str, int | None] = {n: v for n, v in zip(_FIELDS, given, strict=True) if v is not None}
    changes |= {name.replace("-", "_"): None for name in unlimited or []}
    if not changes:
        raise InvalidRequest("nothing to set", hint="give --rpm, --tpm or --in-flight")
    with place.client() as client:
        limits = client.patch(limit_path(scope), changes)
    show.as_json(limits) if place.as_json else _print(limits)


def show_(ctx: typer.Context, scope: ScopeArg) -> None:
    """Show the limits of a level."""
    place: Place = ctx.obj
    with place.client() as client:
        limits = client.get(limit_path(scope))
    show.as_json(limits) if place.as_json else _print(limits)


def limit_path(scope: str) -> str:
    """Return the path of the limits of ``scope``."""
    if scope == "platform":
        return "/platform/limits"
    tenant, slash, agent = scope.partition("/")
    return path("tenants", tenant, "agents", agent, "limits") if slash else path("tenants", tenant, "limits")


def _print(limits: dict[str, Any]) -> None:
    show.facts({name: _absent(name) if value is None else value for name, value in limits.items()})


def _absent(name: str) -> str:
    return "a minute's worth" if name.endswith("_burst") else "unlimited"
