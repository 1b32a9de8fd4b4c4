"""The command tree: which command is where. Their bodies live in ``commands/``, one noun a file."""

from __future__ import annotations

from typing import Annotated

import typer

from insula import __version__
from insula.cli.commands import (
    agents,
    audit,
    burndown,
    costs,
    fairness,
    keys,
    ledger,
    limits,
    models,
    platform,
    policies,
    runs,
    runtimes,
    sim,
    tenants,
    usage,
)
from insula.cli.groups import NounGroup, RootGroup, RunGroup
from insula.cli.place import Place

HELP = """Run the agents of many tenants on shared machines, walled off from each other.

\b
  insula demo                                      two tenants at once, and what one can't do to the other
  insula up                                        the platform on this machine
  insula tenant create acme --tier pro             a tenant
  insula agent deploy acme ./researcher            its agent
  insula run acme/researcher --follow              one run, live

Every command takes --home, --url, --token and --json, before it or after it."""

app = typer.Typer(
    cls=RootGroup,
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"insula {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    home: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where all state lies. [env: INSULA_HOME; ~/.insula]")
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="A platform elsewhere. [env: INSULA_URL]")
    ] = None,
    token: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="Better in the environment: INSULA_TOKEN.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Data for programs on stdout.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    ctx.obj = Place.of(home, url, token, as_json)


def _group(name: str, help: str, kind: type[NounGroup] = NounGroup) -> typer.Typer:  # noqa: A002
    noun = typer.Typer(cls=kind, help=help, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(noun, name=name)
    return noun


platform.register(app)
tenants.register(_group("tenant", "Tenants: whose agents run here."))
tenants.register_tier(_group("tier", "Tiers: how strongly a tenant is isolated."))
agents.register(_group("agent", "Agents: directories with an agent.toml, deployed to a tenant."))
runtimes.register(_group("runtime", "Runtimes: read-only Python environments for agents."))
runs.register(_group("run", runs.HELP, RunGroup))
runs.register_why(app)
models.register(_group("endpoint", "Endpoints: where models answer."))
models.register_entitle(app)
limits.register(_limit := _group("limit", "Limits: how much a level may use."))
burndown.register(_limit)
policies.register(_group("policy", "Policies: expressions in CEL that are asked before each call."))
keys.register(_group("key", "Virtual keys: for applications outside that call the gateway."))
usage.register(app)
costs.register_invoice(app)
costs.register(_group("cost", "Costs that tenants share: recorded for a month, split to the nano-dollar."))
ledger.register(_group("ledger", "The ledger: every debit against every call."))
fairness.register(app)
sim.register(app)
audit.register(_group("audit", "The audit: append-only, hash-chained."))
keys.register_token(_group("token", "Tokens for the control plane."))
