"""``endpoint`` and ``entitle``."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Annotated, Any

import typer

from insula.cli import show
from insula.cli.commands.tenants import TenantArg
from insula.cli.paths import path
from insula.cli.place import Place
from insula.kernel.errors import InvalidRequest

NameArg = Annotated[str, typer.Argument(metavar="NAME", help="The endpoint's name.")]


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula endpoint``."""
    noun.command("add")(add)
    noun.command("list")(list_)
    noun.command("set")(set_)
    noun.command("remove")(remove)


def register_entitle(app: typer.Typer) -> None:
    """Add ``insula entitle``."""
    app.command("entitle")(entitle)


def add(
    ctx: typer.Context,
    name: NameArg,
    model: Annotated[list[str], typer.Option(metavar="ID", help="A model it serves. Repeat it.")],
    base_url: Annotated[str, typer.Option(metavar="URL", help="Where it answers, such as https://host/v1.")],
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="openai: any server that speaks its wire format.")
    ] = "openai",
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="Read its API key from stdin.")] = False,
) -> None:
    """Add an endpoint. Its key is sealed on arrival and leaves the platform only towards that endpoint."""
    place: Place = ctx.obj
    body: dict[str, Any] = {"name": name, "kind": kind, "base_url": base_url, "models": model}
    if key_stdin:
        body["key"] = _key_from_stdin()
    with place.client() as client:
        made = client.post("/endpoints", body)
    if place.as_json:
        show.as_json(made)
    else:
        show.done(f"endpoint {name} serves {', '.join(made['models'])}", f"insula entitle TENANT {model[0]}")


def _key_from_stdin() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("API key", hide_input=True, err=True))
    key = sys.stdin.read().strip()
    if not key:
        raise InvalidRequest(
            "stdin holds no key", hint="for example: insula endpoint add … --key-stdin < key.txt"
        )
    return key


def list_(ctx: typer.Context) -> None:
    """List the endpoints. Keys are never shown."""
    place: Place = ctx.obj
    with place.client() as client:
        endpoints = list(client.items("/endpoints"))
    if place.as_json:
        show.as_json({"items": endpoints})
        return
    rows = [
        (e["name"], e["kind"], e["base_url"], e["models"], e["has_key"], e["capacity"]["slots"])
        for e in endpoints
    ]
    show.table(
        ["endpoint", "kind", "base url", "models", "key", "slots"],
        rows,
        empty="no endpoints yet; next: insula endpoint add NAME --base-url URL --model ID",
    )


def set_(
    ctx: typer.Context,
    name: NameArg,
    slots: Annotated[int | None, typer.Option(metavar="N", help="Calls at once.")] = None,
    prefill_tps: Annotated[int | None, typer.Option(metavar="N", help="Input tokens a second.")] = None,
    decode_tps: Annotated[int | None, typer.Option(metavar="N", help="Output tokens a second.")] = None,
    kv_tokens: Annotated[int | None, typer.Option(metavar="N", help="Tokens that its cache holds.")] = None,
    unlimited: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="Lift slots, prefill-tps, decode-tps or kv-tokens. Repeat it."),
    ] = None,
) -> None:
    """Say what an endpoint bears. Calls beyond that wait their turn; see `insula fairness`."""
    place: Place = ctx.obj
    given = {"slots": slots, "prefill_tps": prefill_tps, "decode_tps": decode_tps, "kv_tokens": kv_tokens}
    changes: dict[str, int | None] = {what: figure for what, figure in given.items() if figure is not None}
    changes |= dict.fromkeys(_lifted(unlimited or [], given))
    if not changes:
        raise InvalidRequest("nothing to set", hint="give --slots N, another figure, or --unlimited WHAT")
    with place.client() as client:
        changed = client.patch(path("endpoints", name), changes)
    if place.as_json:
        show.as_json(changed)
    else:
        bears = {what: figure for what, figure in changed["capacity"].items() if figure is not None}
        told = ", ".join(f"{what} {figure}" for what, figure in bears.items())
        show.done(f"endpoint {name}: {told or 'nothing is limited'}")


def _lifted(names: list[str], known: Collection[str]) -> list[str]:
    lifted = [name.replace("-", "_") for name in names]
    for name in lifted:
        if name not in known:
            raise InvalidRequest(
                f"there is no figure {name!r}",
                hint=f"use one of {', '.join(known).replace('_', '-')}",
                field="unlimited",
            )
    return lifted


def remove(ctx: typer.Context, name: NameArg) -> None:
    """Remove an endpoint and its key."""
    place: Place = ctx.obj
    with place.client() as client:
        gone = client.delete(path("endpoints", name))
    show.as_json(gone) if place.as_json else show.done(f"endpoint {name} is removed")


def entitle(
    ctx: typer.Context,
    tenant: TenantArg,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's id.")],
    max_context: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Largest input and output together.")
    ] = None,
    max_output: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Largest output of a call.")
    ] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the right away again.")] = False,
) -> None:
    """Let a tenant use a model."""
    place: Place = ctx.obj
    grant = path("tenants", tenant, "entitlements", model)
    with place.client() as client:
        if revoke:
            told = client.delete(grant)
        else:
            told = client.put(grant, {"max_context": max_context, "max_output": max_output})
    if place.as_json:
        show.as_json(told)
    else:
        show.done(f"{tenant} may {'no longer ' if revoke else ''}use {model}")
