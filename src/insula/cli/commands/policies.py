"""``policy``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from insula.cli import show
from insula.cli.exits import ExitCode
from insula.cli.paths import path
from insula.cli.place import Place
from insula.kernel.errors import InvalidRequest

ScopeArg = Annotated[
    str, typer.Argument(metavar="SCOPE", help="`platform`, a TENANT, or one application as TENANT/APP.")
]
FileArg = Annotated[str, typer.Argument(metavar="FILE", help="The expression in CEL; `-` reads stdin.")]
NameOption = Annotated[str, typer.Option(metavar="NAME", help="Its name: a level may have several.")]
_MOST_BYTES = 64_000
_TRIALS = 200


def register(noun: typer.Typer) -> None:
    """Add the commands of ``insula policy``."""
    noun.command("set")(set_)
    noun.command("list")(list_)
    noun.command("show")(show_)
    noun.command("delete")(delete)
    noun.command("shadow")(shadow)
    noun.command("test")(test)


def set_(
    ctx: typer.Context,
    scope: ScopeArg,
    file: FileArg,
    name: NameOption = "main",
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Only record what it would do; don't obey it.")
    ] = False,
) -> None:
    """Set a policy of a level. It is checked in full first, and holds from the next call on."""
    place: Place = ctx.obj
    body = {"expression": _text(file), "mode": "shadow" if shadow else "enforce"}
    with place.client() as client:
        made = client.put(f"{policy_path(scope)}{path(name)}", body)
    if place.as_json:
        show.as_json(made)
        return
    told = "is recorded, not obeyed" if shadow else "holds from the next call on"
    following = f"insula policy shadow {scope}" if shadow else f"insula policy show {scope} --name {name}"
    show.done(f"policy {name} of {scope} {told} (version {made['version']})", following)


def list_(ctx: typer.Context, scope: ScopeArg) -> None:
    """List the policies of a level."""
    place: Place = ctx.obj
    with place.client() as client:
        found = list(client.items(policy_path(scope)))
    if place.as_json:
        show.as_json(found)
        return
    rows = [
        (one["name"], one["mode"], one["version"], show.when(one["created_at"]), *_counts(one["decisions"]))
        for one in found
    ]
    columns = ["name", "mode", "version", "since", "allowed", "denied", "bounded", "moved", "failed"]
    show.table(columns, rows, empty=f"{scope} has no policy")


def show_(ctx: typer.Context, scope: ScopeArg, name: NameOption = "main") -> None:
    """Show a policy: its text, and what it said so far."""
    place: Place = ctx.obj
    with place.client() as client:
        found = client.get(f"{policy_path(scope)}{path(name)}")
    if place.as_json:
        show.as_json(found)
        return
    told = {key: found[key] for key in ("scope", "name", "mode", "version")}
    told["since"] = show.when(found["created_at"])
    told["cost"] = "-" if found["cost"] is None else f"at most {found['cost']} steps"
    told["decisions"] = found["decisions"]
    if found["broken"]:
        told["broken"] = found["broken"]
    show.facts(told)
    show.line("")
    show.line(found["expression"].rstrip())


def delete(ctx: typer.Context, scope: ScopeArg, name: NameOption = "main") -> None:
    """Remove a policy."""
    place: Place = ctx.obj
    with place.client() as client:
        gone = client.delete(f"{policy_path(scope)}{path(name)}")
    show.as_json(gone) if place.as_json else show.done(f"policy {name} of {scope} is gone")


def shadow(ctx: typer.Context, scope: ScopeArg) -> None:
    """Show what a level's policies in shadow would have done, newest first."""
    place: Place = ctx.obj
    with place.client() as client:
        where = policy_path(scope)
        names = [one["name"] for one in client.items(where) if one["mode"] == "shadow"]
        found = [
            {"policy": name, **one}
            for name in names
            for one in client.get(f"{where}{path(name)}/decisions")["items"]
        ]
    found.sort(key=lambda one: str(one["at"]), reverse=True)
    if place.as_json:
        show.as_json(found)
        return
    rows = [
        (show.when(one["at"]), one["policy"], one["tenant"], one["request_id"], one["decision"], _told(one))
        for one in found
    ]
    columns = ["time", "policy", "tenant", "request", "decision", "what"]
    show.table(columns, rows, empty=f"no policy in shadow of {scope} would have changed a call")


def test(
    ctx: typer.Context,
    file: FileArg,
    request: Annotated[
        str | None,
        typer.Option(metavar="R.JSON", help="What is known of the call; any part of the variables."),
    ] = None,
) -> None:
    """Try a policy on a made-up call. Needs no platform.

    Prints the decision, the defaults taken for what R.JSON leaves out, the cost bound and the time.
    Exit code 0: the call would go through, perhaps bounded or moved. 3: it would be refused. 2: the policy
    or the request is not right.
    """
    from insula.governance.policy import compile_expression
    from insula.governance.policy.lowering import flat
    from insula.governance.policy.playground import values_of

    place: Place = ctx.obj
    compiled = compile_expression(_text(file))
    given = {} if request is None else _json(_text(request))
    values, defaults = values_of(given)
    values = {flat(name): values[flat(name)] for name in compiled.reads}
    taken = {name: value for name, value in defaults.items() if name in compiled.reads}
    decision, micros = _timed(compiled, values)
    refused = decision.kind in {"deny", "error"}
    told = {
        "decision": decision.kind,
        "refused": refused,
        "reason": decision.reason,
        "limit": decision.limit,
        "lane": decision.lane,
        "reads": sorted(compiled.reads),
        "defaults": taken,
        "cost": compiled.cost,
        "most_cost": _most_cost(),
        "microseconds": micros,
    }
    show.as_json(told) if place.as_json else _print(told)
    if refused:
        raise typer.Exit(ExitCode.PROBLEMS_FOUND)


def policy_path(scope: str) -> str:
    """Return the path of the policies of ``scope``."""
    if scope == "platform":
        return "/platform/policies"
    tenant, slash, app = scope.partition("/")
    return path("tenants", tenant, "apps", app, "policies") if slash else path("tenants", tenant, "policies")


def _timed(compiled: Any, values: dict[str, object]) -> tuple[Any, float]:
    """Return the decision and the microseconds that one evaluation takes, handing over values included."""
    import time

    from insula.governance.policy.engine import bound

    began = time.perf_counter()
    for _ in range(_TRIALS):
        decision = compiled.ask(bound(values))
    return decision, round((time.perf_counter() - began) / _TRIALS * 1e6, 1)


def _most_cost() -> int:
    from insula.governance.policy.cost import MOST_COST

    return MOST_COST


def _print(told: dict[str, Any]) -> None:
    facts = {"decision": f"{told['decision']} {_told(told)}".strip(), "reads": told["reads"]}
    facts["cost"] = f"at most {told['cost']} of {told['most_cost']} steps; took {told['microseconds']} µs"
    show.facts(facts)
    for name, value in told["defaults"].items():
        show.say(f"default: {name} = {json.dumps(value)}")


def _told(one: dict[str, Any]) -> str:
    return str(one["reason"] or one["limit"] or one["lane"] or "")


def _counts(decisions: dict[str, int]) -> list[int]:
    return [decisions[kind] for kind in ("allow", "deny", "limit", "lane", "error")]


def _text(file: str) -> str:
    try:
        read = sys.stdin.buffer.read(_MOST_BYTES + 1) if file == "-" else _read(Path(file))
        if len(read) > _MOST_BYTES:
            raise InvalidRequest(
                f"{file} is larger than {_MOST_BYTES} bytes", hint="give a smaller one", field="file"
            )
        return read.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"{file} can't be read: {error}", hint="give a file of UTF-8 text, or - for stdin", field="file"
        ) from None


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MOST_BYTES + 1)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"the request file is not JSON: {error}",
            hint='give an object, such as {"request": {…}}',
            field="request",
        ) from None
