"""``runtime``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from insula.cli import show
from insula.cli.paths import path
from insula.cli.place import Place
from insula.kernel.errors import InvalidRequest

NameArg = Annotated[str, typer.Argument(metavar="NAME", help="The runtime's name, as in agent.toml.")]


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula runtime``."""
    noun.command("build")(build)
    noun.command("list")(list_)
    noun.command("show")(show_)


def build(
    ctx: typer.Context,
    name: NameArg,
    requirements: Annotated[
        Path | None,
        typer.Option("-r", "--requirements", metavar="FILE", help="A requirements file; wheels only."),
    ] = None,
) -> None:
    """Build a runtime from a requirements file. Takes a minute or so; the name then means the new one."""
    place: Place = ctx.obj
    text = "" if requirements is None else _read(requirements)
    if not place.as_json:
        show.say(f"building {name} …")
    with place.client() as client:
        made = client.slow_post("/runtimes", {"name": name, "requirements": text})
    if place.as_json:
        show.as_json(made)
    else:
        show.done(f"runtime {name}: Python {made['python']}, {len(made['packages'])} packages")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"{path} can't be read: {getattr(error, 'strerror', None) or 'it is not text'}",
            hint="give a pip requirements file",
            field="requirements",
        ) from None


def list_(ctx: typer.Context) -> None:
    """List the runtimes."""
    place: Place = ctx.obj
    with place.client() as client:
        runtimes = list(client.items("/runtimes"))
    if place.as_json:
        show.as_json({"items": runtimes})
        return
    rows = [(r["name"], r["python"], len(r["packages"]), r["digest"][:19]) for r in runtimes]
    show.table(
        ["runtime", "python", "packages", "digest"],
        rows,
        empty="no runtimes yet; `python` and `openai` are built when first needed",
    )


def show_(ctx: typer.Context, name: NameArg) -> None:
    """Show a runtime and its packages."""
    place: Place = ctx.obj
    with place.client() as client:
        found = client.get(path("runtimes", name))
    show.as_json(found) if place.as_json else show.facts(found)
