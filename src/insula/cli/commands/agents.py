"""``agent``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from insula.cli import show
from insula.cli.commands.tenants import TenantArg
from insula.cli.paths import path
from insula.cli.place import Place
from insula.kernel.errors import InvalidRequest


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula agent``."""
    noun.command("deploy")(deploy)
    noun.command("list")(list_)
    noun.command("show")(show_)


def deploy(
    ctx: typer.Context,
    tenant: TenantArg,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory with agent.toml.")],
) -> None:
    """Deploy the agent in a directory. The same content again changes nothing."""
    from insula.bundles import pack

    place: Place = ctx.obj
    if not directory.is_dir():
        raise InvalidRequest(
            f"{directory} is not a directory", hint="name the directory that holds agent.toml", field="DIR"
        )
    content = pack(directory)
    with place.client() as client:
        agent = client.upload(path("tenants", tenant, "agents"), content, "application/gzip")
    if place.as_json:
        show.as_json(agent)
        return
    name = f"{tenant}/{agent['name']}"
    show.done(
        f"{name} deployed ({agent['bundle'][:19]}…, runtime {agent['runtime']})",
        f"insula run {name} --follow",
    )


def list_(ctx: typer.Context, tenant: TenantArg) -> None:
    """List a tenant's agents."""
    place: Place = ctx.obj
    with place.client() as client:
        agents = list(client.items(path("tenants", tenant, "agents")))
    if place.as_json:
        show.as_json({"items": agents})
        return
    rows = [
        (a["name"], a["runtime"], a["models"], a["bundle"][:19], show.when(a["deployed_at"])) for a in agents
    ]
    show.table(
        ["agent", "runtime", "models", "bundle", "deployed"],
        rows,
        empty=f"no agents yet; next: insula agent deploy {tenant} DIR",
    )


def show_(
    ctx: typer.Context,
    agent: Annotated[str, typer.Argument(metavar="TENANT/AGENT", help="Which agent.")],
) -> None:
    """Show a deployed agent and its manifest."""
    place: Place = ctx.obj
    tenant, name = split_agent(agent)
    with place.client() as client:
        found = client.get(path("tenants", tenant, "agents", name))
    if place.as_json:
        show.as_json(found)
        return
    show.facts({**found, "deployed_at": show.when(found["deployed_at"])})


def split_agent(text: str) -> tuple[str, str]:
    """Return tenant and agent of ``TENANT/AGENT``. Raises ``InvalidRequest``."""
    tenant, slash, agent = text.partition("/")
    if not slash or not tenant or not agent or "/" in agent:
        raise InvalidRequest(f"{text[:80]!r} is not TENANT/AGENT", hint="for example acme/researcher")
    return tenant, agent
