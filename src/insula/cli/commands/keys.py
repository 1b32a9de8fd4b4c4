"""``key`` and ``token``: a secret is shown once, when it is made."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from insula.cli import show
from insula.cli.commands.tenants import TenantArg
from insula.cli.paths import path
from insula.cli.place import Place

DAY_S = 86_400


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula key``."""
    noun.command("create")(create)
    noun.command("list")(list_)
    noun.command("revoke")(revoke)


def register_token(noun: typer.Typer) -> None:
    """Add the commands of ``insula token``."""
    noun.command("create")(create_token)
    noun.command("list")(list_tokens)
    noun.command("revoke")(revoke_token)


def create(
    ctx: typer.Context,
    tenant: TenantArg,
    name: Annotated[str, typer.Option(metavar="NAME", help="What it is for.")] = "default",
    agent: Annotated[
        str | None, typer.Option(metavar="AGENT", help="Count its use as this agent's, and take its models.")
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(metavar="APP", help="Bind it to this application's limits; it can name no other."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(metavar="N", help="Days until it ends. [default: never]")
    ] = None,
) -> None:
    """Make a virtual key: any OpenAI SDK can use it against the gateway. It is shown this once."""
    place: Place = ctx.obj
    expires_in_s = None if days is None else days * DAY_S
    body = {"name": name, "agent": agent, "app": app, "expires_in_s": expires_in_s}
    with place.client() as client:
        made = client.post(path("tenants", tenant, "keys"), body)
        gateway = client.get("/platform")["gateway"] if not place.as_json else ""
    if place.as_json:
        show.as_json(made)
        return
    show.line(made["key"])
    show.done(f"key {made['id']} of {tenant}; this is the only time it is shown")
    show.say(f"next: OPENAI_BASE_URL={gateway}/v1 OPENAI_API_KEY=… python your_app.py")


def list_(ctx: typer.Context, tenant: TenantArg) -> None:
    """List a tenant's virtual keys."""
    _list(ctx, path("tenants", tenant, "keys"), f"no keys yet; next: insula key create {tenant}")


def revoke(
    ctx: typer.Context,
    tenant: TenantArg,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id, from `insula key list`.")],
) -> None:
    """Revoke a virtual key at once."""
    _revoke(ctx, path("tenants", tenant, "keys", key), f"key {key} is revoked")


def create_token(
    ctx: typer.Context,
    tenant: Annotated[
        str | None, typer.Option(metavar="TENANT", help="A tenant's token. [default: an operator's]")
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What it is for.")] = "default",
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="A right it carries. Repeat it. [default: all that fit]"),
    ] = None,
    days: Annotated[
        int | None, typer.Option(metavar="N", help="Days until it ends. [default: never]")
    ] = None,
) -> None:
    """Make a token for the control plane. It is shown this once."""
    place: Place = ctx.obj
    body: dict[str, Any] = {"name": name, "expires_in_s": None if days is None else days * DAY_S}
    if scope:
        body["scopes"] = scope
    with place.client() as client:
        made = client.post(path("tenants", tenant, "tokens") if tenant else "/tokens", body)
    if place.as_json:
        show.as_json(made)
        return
    show.line(made["token"])
    show.done(f"token {made['id']}; this is the only time it is shown")


def list_tokens(
    ctx: typer.Context,
    tenant: Annotated[str | None, typer.Option(metavar="TENANT", help="Of this tenant.")] = None,
) -> None:
    """List tokens, never their secrets."""
    _list(ctx, path("tenants", tenant, "tokens") if tenant else "/tokens", "no tokens")


def revoke_token(
    ctx: typer.Context,
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id, from `insula token list`.")],
    tenant: Annotated[str | None, typer.Option(metavar="TENANT", help="Whose it is.")] = None,
) -> None:
    """Revoke a token at once."""
    _revoke(
        ctx,
        path("tenants", tenant, "tokens", token) if tenant else path("tokens", token),
        f"token {token} is revoked",
    )


def _list(ctx: typer.Context, where: str, empty: str) -> None:
    place: Place = ctx.obj
    with place.client() as client:
        found = list(client.items(where))
    if place.as_json:
        show.as_json({"items": found})
        return
    rows = [
        (
            c["id"],
            c["name"],
            c.get("agent") or c.get("app") or c.get("scopes"),
            show.when(c["created_at"]),
            show.when(c["expires_at"]),
        )
        for c in found
    ]
    show.table(["id", "name", "for", "created", "ends"], rows, empty=empty)


def _revoke(ctx: typer.Context, where: str, outcome: str) -> None:
    place: Place = ctx.obj
    with place.client() as client:
        gone = client.delete(where)
    show.as_json(gone) if place.as_json else show.done(outcome)
