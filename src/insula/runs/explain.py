"""Why a run went as it did: the journal, told in order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from insula.runs.run import RunEvent, RunView


def explain(view: RunView, events: Iterable[RunEvent]) -> list[str]:
    """Return lines for a reader: what was decided, on what ground, what was hit, what to do next."""
    lines = [f"run {view.run} of {view.tenant}/{view.agent} is {view.state}"]
    lines += [line for event in events if event.kind != "output" for line in _told(event)]
    if view.reason and not any(line.endswith(view.reason) for line in lines):
        lines.append(f"{view.state}: {view.reason}")
    if view.usage.calls:
        used = view.usage
        tokens = f"{used.input_tokens} input and {used.output_tokens} output tokens"
        lines.append(f"it made {used.calls} model calls: {tokens}")
    if view.hint:
        lines.append(f"next: {view.hint}")
    return lines


def _told(event: RunEvent) -> list[str]:
    if event.kind == "state":
        return _state(event.data)
    teller = _TELLERS.get(event.data["event"])
    return [teller(event.data)] if teller else []


def _state(data: dict[str, Any]) -> list[str]:
    reason = data.get("reason")
    return [f"{data['state']}: {reason}"] if reason else []


def _planned(data: dict[str, Any]) -> str:
    bounds = data["bounds"]
    return (
        f"tier {data['tier']} under trust {data['trust']} asks for {data['floor']} or stronger; bounds:"
        f" {bounds['memory_mib']} MiB memory, {bounds['pids']} processes, {bounds['cpu_fraction']:g} CPU,"
        f" {bounds['workspace_mib']} MiB workspace, {bounds['output_bytes']} bytes output"
    )


def _timeout(data: dict[str, Any]) -> str:
    return f"time limit {data['timeout_s']:g} s, set by {data['by']}"


def _named(data: dict[str, Any]) -> str:
    return f"by a named exception: {data['exception']}"


def _admitted(data: dict[str, Any]) -> str:
    return f"waited {data['waited_ms']} ms for one of {data['slots']} slots; this is start {data['attempt']}"


def _launched(data: dict[str, Any]) -> str:
    return f"backend {data['backend']}, the strongest this host gives at or above {data['floor']}"


def _exited(data: dict[str, Any]) -> str:
    spent = f"{data['cpu_s']:.2f} s CPU, {data['memory_peak_mib']} MiB at its peak"
    return f"the sandbox ended ({data['reason']}) after {data['ran_ms']} ms: {spent}"


def _skipped(data: dict[str, Any]) -> str:
    return f"artifact {data['name']} was left behind: {data['why']}"


def _destroyed(data: dict[str, Any]) -> str:
    return "workspace destroyed, with a receipt" if data["clean"] else "the sandbox left something behind"


def _taken_up(data: dict[str, Any]) -> str:
    return f"the platform stopped while this run was {data['was']}; it is taken up again"


_TELLERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "planned": _planned,
    "timeout": _timeout,
    "named_exception": _named,
    "admitted": _admitted,
    "launched": _launched,
    "exited": _exited,
    "artifact_skipped": _skipped,
    "destroyed": _destroyed,
    "taken_up": _taken_up,
    "waiting_for_tokens": lambda data: f"it waited for tokens: {data['reason']}",
    "reserved": lambda data: f"{data['tokens']} tokens of the tenant's budget were set aside for it",
    "launch_delayed": lambda data: f"the sandbox could not be made yet ({data['code']}); tried again",
    "drained": lambda _data: "the platform was shutting down and stopped the sandbox",
    "cancel_requested": lambda _data: "somebody asked to cancel it",
}
