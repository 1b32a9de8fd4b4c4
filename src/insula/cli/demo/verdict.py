"""What a run of the demonstration proved. Pure: from the platform's records to a row and a judgement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ATTEMPTS = ("other_workspace", "internet", "other_processes", "forbidden_model", "rate")
RECORDED = {
    "internet": ("egress.denied",),
    "forbidden_model": ("model_not_entitled", "model_not_found"),
}
"""Attempts that go through the door, and the rule under which the platform must have recorded the refusal."""

RATE = {"rpm": 30, "rpm_burst": 10}
"""The limits that the play sets. That a caller must wait is not audited; too many calls would show."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One row of the result. ``problems`` says what did not hold; empty when everything did."""

    run: str
    tenant: str
    tier: str
    backend: str
    state: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    refused: Mapping[str, str]
    workspace_destroyed: bool
    problems: tuple[str, ...]


def judge(
    tier: str, run: Mapping[str, Any], records: Sequence[Mapping[str, Any]], runs: Iterable[Mapping[str, Any]]
) -> Shown:
    """Return what ``run`` proved, given the platform's audit ``records`` of what it was refused."""
    result = run["result"] if isinstance(run["result"], Mapping) else {}
    refused = {name: str(reason) for name, reason in result.get("refused", {}).items()}
    usage = run["usage"]
    return Shown(
        run=run["run"],
        tenant=run["tenant"],
        tier=tier,
        backend=str(run["backend"]),
        state=run["state"],
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cost_usd=float(usage["cost_usd"]),
        refused=refused,
        workspace_destroyed=run["workspace_destroyed"],
        problems=tuple(_problems(run, result, refused, records, runs)),
    )


def unrecorded(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the attempts through the door of which ``records`` hold no refusal."""
    written = {record["details"].get("rule") for record in records}
    return [name for name, rules in RECORDED.items() if written.isdisjoint(rules)]


def ok(shown: Sequence[Shown]) -> bool:
    """Whether everything held."""
    return bool(shown) and not any(row.problems for row in shown)


def as_json(shown: Sequence[Shown]) -> dict[str, Any]:
    """Return the result in the shape that scripts rely on."""
    names = (
        "run", "tenant", "tier", "backend", "state", "input_tokens", "output_tokens", "cost_usd", "refused",
        "workspace_destroyed",
    )  # fmt: skip
    return {"runs": [{name: getattr(row, name) for name in names} for row in shown], "ok": ok(shown)}


def _problems(
    run: Mapping[str, Any],
    result: Mapping[str, Any],
    refused: Mapping[str, str],
    records: Sequence[Mapping[str, Any]],
    runs: Iterable[Mapping[str, Any]],
) -> Iterable[str]:
    if run["state"] != "succeeded":
        yield f"the run {run['state']}: {run['reason']}"
    yield from (f"{name} was NOT refused: {what}" for name, what in result.get("breached", {}).items())
    yield from (
        f"{name} was not tried" for name in ATTEMPTS if name not in {**refused, **result.get("breached", {})}
    )
    if not run["usage"]["output_tokens"]:
        yield "no token was metered"
    elif result.get("usage", {}).get("output", 0) > run["usage"]["output_tokens"]:
        yield "fewer tokens were metered than the agent received"
    if run["usage"]["calls"] > (most := _most_calls(run)):
        yield f"{run['usage']['calls']} calls were served, where at most {most} were allowed"
    if not run["workspace_destroyed"]:
        yield "the workspace was not destroyed"
    yield from (
        f"the platform has no record that {name} was refused"
        for name in unrecorded(records)
        if name in refused
    )
    if any(other["run"] != run["run"] and not _overlap(run, other) for other in runs):
        yield "the two runs were not at once"


def _most_calls(run: Mapping[str, Any]) -> int:
    """What the limit can have let through while the run lasted: a burst, and the even flow beside it."""
    began, ended = (
        datetime.fromisoformat(run[name] or run["created_at"]) for name in ("started_at", "finished_at")
    )
    return RATE["rpm_burst"] + RATE["rpm"] * (1 + int((ended - began).total_seconds() // 60))


def _overlap(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """RFC 3339 stamps of one form and zone compare as text."""
    times = (one["started_at"], one["finished_at"], two["started_at"], two["finished_at"])
    return all(times) and one["started_at"] < two["finished_at"] and two["started_at"] < one["finished_at"]
