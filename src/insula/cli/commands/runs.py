"""``run`` and ``why``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from insula.cli import show
from insula.cli.commands.agents import split_agent
from insula.cli.exits import ExitCode
from insula.cli.paths import path
from insula.cli.place import Place
from insula.kernel.errors import InvalidRequest

HELP = """Runs: `insula run TENANT/AGENT` starts one.

\b
  insula run acme/researcher --input question.json --follow
  echo hello | insula run acme/researcher --input - --json
  insula run show RUN"""

RunArg = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, run_…")]
AgentArg = Annotated[str, typer.Argument(metavar="TENANT/AGENT", help="Which agent.")]


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula run``."""
    noun.command("start", help=START_HELP)(start)
    noun.command("show")(show_)
    noun.command("list")(list_)
    noun.command("logs")(logs)
    noun.command("artifacts")(artifacts)
    noun.command("cancel")(cancel)


def register_why(app: typer.Typer) -> None:
    """Add ``insula why``."""
    app.command("why")(why)


START_HELP = """Start a run; `insula run TENANT/AGENT` does the same. Waits for its end unless --detach.

Exit code 0 only when the run succeeded. With --json: the run as one object on stdout."""


def start(
    ctx: typer.Context,
    agent: AgentArg,
    input: Annotated[  # noqa: A002
        str | None,
        typer.Option("--input", "-i", metavar="FILE", help="What it reads on stdin; - is our stdin."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show state and output live.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not wait; print the run's id.")] = False,
    timeout: Annotated[int | None, typer.Option(metavar="SECONDS", help="Stop it after so long.")] = None,
    lane: Annotated[
        str, typer.Option(metavar="LANE", help="interactive or batch: of its tenant's runs, who goes first.")
    ] = "interactive",
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="A repeat with the same key starts nothing new.")
    ] = None,
) -> None:
    from insula.cli.waiting import follow_run, wait_for

    if follow and detach:
        raise InvalidRequest("--follow and --detach exclude each other", hint="give one of them")
    place: Place = ctx.obj
    tenant, name = split_agent(agent)
    body: dict[str, Any] = {"timeout_s": timeout, "lane": lane, **_input(input)}
    with place.client() as client:
        run = client.post(path("tenants", tenant, "agents", name, "runs"), body, key=idempotency_key)
        if not detach:
            run = follow_run(client, run) if follow else wait_for(client, run)
    if detach:
        show.as_json(run) if place.as_json else _detached(run)
        return
    _finish(place, run, streamed=follow)


def _input(source: str | None) -> dict[str, str]:
    """Return the request's fields that carry the input: as text, or in base64 when it is not text."""
    if source is None:
        return {}
    data = sys.stdin.buffer.read() if source == "-" else _read(Path(source))
    try:
        return {"input": data.decode()}
    except UnicodeDecodeError:
        import base64

        return {"input_base64": base64.b64encode(data).decode()}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"{path} can't be read: {error.strerror}", hint="give a file, or - for stdin", field="input"
        ) from None


def _detached(run: dict[str, Any]) -> None:
    show.line(run["run"])
    show.say(f"next: insula run logs {run['run']} --follow")
    show.say(f"      insula run show {run['run']}")


def _finish(place: Place, run: dict[str, Any], *, streamed: bool) -> None:
    if place.as_json:
        show.as_json(run)
    else:
        if not streamed:
            show.output(run["output"])
        show.say(summary(run))
        if run["hint"]:
            show.say(f"hint: {run['hint']}")
    if run["state"] != "succeeded":
        raise typer.Exit(ExitCode.FAILED)


def summary(run: dict[str, Any]) -> str:
    """Return one line on how a run ended and what it took."""
    usage = run["usage"]
    parts = [f"{run['run']} {run['state']}"]
    if run["reason"] and run["state"] != "succeeded":
        parts.append(run["reason"])
    if run["backend"]:
        parts.append(run["backend"])
    if usage["calls"]:
        parts.append(
            f"{usage['calls']} calls, {usage['input_tokens']} tokens in, {usage['output_tokens']} out,"
            f" ${usage['cost_usd']}"
        )
    if run["started_at"] and run["finished_at"]:
        parts.append(f"{_seconds(run['started_at'], run['finished_at']):.2f} s")
    return " · ".join(parts)


def _seconds(began: str, ended: str) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()


def show_(ctx: typer.Context, run: RunArg) -> None:
    """Show a run."""
    place: Place = ctx.obj
    with place.client() as client:
        found = client.get(path("runs", run))
    show.as_json(found) if place.as_json else _print(found)


def _print(run: dict[str, Any]) -> None:
    usage = run["usage"]
    show.facts(
        {
            "run": run["run"],
            "agent": f"{run['tenant']}/{run['agent']}",
            "state": run["state"],
            "reason": run["reason"],
            "backend": run["backend"],
            "exit code": run["exit_code"],
            "created": show.when(run["created_at"]),
            "started": show.when(run["started_at"]),
            "finished": show.when(run["finished_at"]),
            "attempt": run["attempt"],
            "calls": usage["calls"],
            "tokens": f"{usage['input_tokens']} in, {usage['output_tokens']} out",
            "cost": f"${usage['cost_usd']}",
            "result": run["result"],
            "artifacts": [f"{a['name']} ({a['bytes']} bytes)" for a in run["artifacts"]],
            "workspace": _workspace(run),
        }
    )
    if run["output"]:
        show.say("output:")
        show.output(run["output"])


def _workspace(run: dict[str, Any]) -> str:
    if run["workspace_destroyed"]:
        return "destroyed"
    return "none, or not known to be destroyed" if run["finished_at"] else "in use"


def list_(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")],
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=200, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on behind this.")] = None,
) -> None:
    """List a tenant's runs, newest first."""
    place: Place = ctx.obj
    with place.client() as client:
        page = client.get(path("tenants", tenant, "runs"), limit=limit, cursor=cursor)
    if place.as_json:
        show.as_json(page)
        return
    rows = [
        (
            r["run"],
            r["agent"],
            r["state"],
            show.when(r["created_at"]),
            show.when(r["finished_at"]),
            r["cause"],
        )
        for r in page["items"]
    ]
    show.table(["run", "agent", "state", "created", "finished", "cause"], rows, empty="no runs yet")
    if page["next"]:
        show.say(f"more: insula run list {tenant} --cursor {page['next']}")


def logs(
    ctx: typer.Context,
    run: RunArg,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
) -> None:
    """Print a run's output, and its states on stderr."""
    from insula.cli.waiting import follow_run, print_logs

    place: Place = ctx.obj
    with place.client() as client:
        found = client.get(path("runs", run))
        if place.as_json:
            print_logs(client, found, as_json=True, follow=follow)
        elif follow:
            follow_run(client, found)
        else:
            print_logs(client, found, as_json=False, follow=False)


def artifacts(
    ctx: typer.Context,
    run: RunArg,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="DIR", help="Write them into this directory.")
    ] = None,
) -> None:
    """List what a run left in its artifacts directory, or save it."""
    from insula.cli.saving import save_artifacts

    place: Place = ctx.obj
    with place.client() as client:
        found = list(client.items(path("runs", run, "artifacts")))
        saved = save_artifacts(client, run, found, save) if save else []
    if place.as_json:
        show.as_json({"items": found, "saved": saved})
        return
    show.table(["artifact", "bytes"], [(a["name"], a["bytes"]) for a in found], empty="no artifacts")
    if save:
        show.done(f"{len(saved)} artifacts saved in {save}")


def cancel(ctx: typer.Context, run: RunArg) -> None:
    """Stop a run and destroy its sandbox."""
    place: Place = ctx.obj
    with place.client() as client:
        told = client.post(path("runs", run, "cancel"))
    show.as_json(told) if place.as_json else show.done(f"{run} is {told['state']}")


def why(ctx: typer.Context, run: RunArg) -> None:
    """Explain a run: why it waits, was refused, or ended as it did."""
    place: Place = ctx.obj
    with place.client() as client:
        told = client.get(path("runs", run, "why"))
    if place.as_json:
        show.as_json(told)
        return
    for sentence in told["lines"]:
        show.line(sentence)
