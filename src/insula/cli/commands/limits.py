"""``limit``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from insula.cli import show
from insula.cli.paths import path
from insula.cli.place import Place
from insula.kernel.errors import InvalidRequest

ScopeArg = Annotated[
    str, typer.Argument(metavar="SCOPE", help="`platform`, TENANT, TENANT/APP or TENANT/APP/AGENT.")
]


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula limit``."""
    noun.command("set")(set_)
    noun.command("show")(show_)
    noun.command("history")(history)


def set_(
    ctx: typer.Context,
    scope: ScopeArg,
    rpm: Annotated[int | None, typer.Option(metavar="N", help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(metavar="N", help="Quota tokens a minute.")] = None,
    input_tpm: Annotated[
        int | None, typer.Option("--input-tpm", "--itpm", metavar="N", help="Input tokens a minute.")
    ] = None,
    output_tpm: Annotated[
        int | None, typer.Option("--output-tpm", "--otpm", metavar="N", help="Output tokens a minute.")
    ] = None,
    in_flight: Annotated[int | None, typer.Option(metavar="N", help="Calls at the same time.")] = None,
    tokens_per_day: Annotated[
        int | None,
        typer.Option("--tokens-per-day", "--tokens-day", metavar="N", help="Quota tokens a UTC day."),
    ] = None,
    tokens_per_month: Annotated[
        int | None,
        typer.Option("--tokens-per-month", "--tokens-month", metavar="N", help="Quota tokens a UTC month."),
    ] = None,
    usd_per_day: Annotated[
        str | None, typer.Option("--usd-per-day", "--usd-day", metavar="USD", help="Dollars a UTC day.")
    ] = None,
    usd_per_month: Annotated[
        str | None, typer.Option("--usd-per-month", "--usd-month", metavar="USD", help="Dollars a UTC month.")
    ] = None,
    rpm_burst: Annotated[
        int | None, typer.Option(metavar="N", help="Requests at once after a pause.")
    ] = None,
    tpm_burst: Annotated[int | None, typer.Option(metavar="N", help="Tokens at once after a pause.")] = None,
    input_tpm_burst: Annotated[
        int | None, typer.Option(metavar="N", help="Input tokens at once after a pause.")
    ] = None,
    output_tpm_burst: Annotated[
        int | None, typer.Option(metavar="N", help="Output tokens at once after a pause.")
    ] = None,
    overdraft_tokens: Annotated[
        int | None,
        typer.Option("--overdraft", metavar="N", help="How far calls may go below a token budget."),
    ] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict/--learned", help="Reserve all of max_tokens, or what calls use.")
    ] = None,
    debt_percent: Annotated[
        int | None, typer.Option(metavar="N", help="Debt borne, in percent of the burst.")
    ] = None,
    queue_wait_s: Annotated[
        int | None,
        typer.Option("--queue-wait", metavar="S", help="Seconds that a call may wait at most for a quota."),
    ] = None,
    effective_from: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="When they begin to hold, UTC; else now.")
    ] = None,
    unlimited: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Lift a limit, such as rpm or usd-per-day. Repeat it."),
    ] = None,
) -> None:
    """Set limits of a level; those not named stay as they are. They hold from the next call on."""
    place: Place = ctx.obj
    given = {
        "rpm": rpm, "tpm": tpm, "input_tpm": input_tpm, "output_tpm": output_tpm, "in_flight": in_flight,
        "tokens_per_day": tokens_per_day, "tokens_per_month": tokens_per_month,
        "usd_per_day": usd_per_day, "usd_per_month": usd_per_month, "rpm_burst": rpm_burst,
        "tpm_burst": tpm_burst, "input_tpm_burst": input_tpm_burst, "output_tpm_burst": output_tpm_burst,
        "overdraft_tokens": overdraft_tokens, "strict": strict, "debt_percent": debt_percent,
        "queue_wait_s": queue_wait_s,
    }  # fmt: skip
    for name, value in given.items():
        if value == "unlimited":
            option = name.replace("_", "-")
            raise InvalidRequest(
                f"--{option} takes dollars", hint=f"to lift it: --unlimited {option}", field=name
            )
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    changes |= {name.replace("-", "_"): None for name in unlimited or []}
    if not changes:
        raise InvalidRequest("nothing to set", hint="give --rpm, --tpm, --usd-per-month or another limit")
    if effective_from is not None:
        changes["effective_from"] = effective_from
    with place.client() as client:
        limits = client.patch(limit_path(scope), changes)
    show.as_json(limits) if place.as_json else _print(limits)


def show_(ctx: typer.Context, scope: ScopeArg) -> None:
    """Show the limits of a level."""
    place: Place = ctx.obj
    with place.client() as client:
        limits = client.get(limit_path(scope))
    show.as_json(limits) if place.as_json else _print(limits)


def history(
    ctx: typer.Context,
    scope: Annotated[str, typer.Argument(metavar="SCOPE", help="`platform` or a TENANT.")],
) -> None:
    """Show every limit that was set for the platform or a tenant, and from when on it holds."""
    place: Place = ctx.obj
    with place.client() as client:
        found = client.get(limit_path(scope) + "/history")
    if place.as_json:
        show.as_json(found)
        return
    rows = [(row["effective_from"], _in_words(row)) for row in found["items"]]
    show.table(["from", "limits"], rows, empty=f"nothing was ever set for {scope}")


def limit_path(scope: str) -> str:
    """Return the path of the limits of ``scope``. Raises ``InvalidRequest`` for a scope of no known shape."""
    if scope == "platform":
        return "/platform/limits"
    match scope.split("/"):
        case [tenant] if tenant:
            return path("tenants", tenant, "limits")
        case [tenant, app] if tenant and app:
            return path("tenants", tenant, "apps", app, "limits")
        case [tenant, app, agent] if tenant and app and agent:
            return path("tenants", tenant, "apps", app, "agents", agent, "limits")
    raise InvalidRequest(
        f"{scope[:80]!r} names no level",
        hint="use platform, TENANT, TENANT/APP or TENANT/APP/AGENT",
        field="scope",
    )


def _print(limits: dict[str, Any]) -> None:
    show.facts({name: _absent(name) if value is None else value for name, value in limits.items()})


def _in_words(limits: dict[str, Any]) -> str:
    shown = (name for name in limits if name not in ("scope", "effective_from") and limits[name] is not None)
    return ", ".join(f"{name} {limits[name]}" for name in shown) or "none"


def _absent(name: str) -> str:
    if name.endswith("_burst"):
        return "a minute's worth"
    if name == "overdraft_tokens":
        return "none"
    if name in ("strict", "debt_percent", "queue_wait_s"):
        return "as the level above"
    return "as the tier says" if name == "effective_from" else "unlimited"
