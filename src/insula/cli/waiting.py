"""Waiting for a run: silently, or with its output and state live. A platform that restarts is waited for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from insula.cli import show
from insula.cli.client import Client, Event
from insula.cli.harmless import harmless
from insula.cli.paths import path
from insula.cli.status import StatusLine
from insula.kernel.errors import PlatformNotRunning

AWAY_S_MAX = 60.0
_RETRY_S = 0.5
ENDED = frozenset({"succeeded", "failed", "cancelled", "timed_out", "refused"})


def wait_for(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    """Return ``run`` once it has ended."""
    if run["state"] not in ENDED:
        for _ in events_to_the_end(client, run["run"]):
            pass
        run = client.get(path("runs", run["run"]))
    return run


def follow_run(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    """Show output and state as they come; return the run once it has ended."""
    backend = run["backend"]
    with StatusLine() as status:
        status.show(_status(run, run["state"], backend))
        for event in events_to_the_end(client, run["run"]):
            if event.kind == "output":
                status.write(event.data["text"], stderr=event.data["stream"] == "stderr")
                continue
            backend = event.data.get("backend", backend)
            if event.kind == "state":
                status.show(_status(run, event.data["state"], backend))
    found: dict[str, Any] = client.get(path("runs", run["run"]))
    return found


def print_logs(client: Client, run: dict[str, Any], *, as_json: bool, follow: bool) -> None:
    """Print the events of ``run`` so far, or to its end with ``follow``."""
    found = events_to_the_end(client, run["run"]) if follow else _recorded(client, run["run"])
    for event in found:
        if as_json:
            show.line(json.dumps({"seq": event.seq, "kind": event.kind, **event.data}))
        elif event.kind == "output":
            stream = sys.stderr if event.data["stream"] == "stderr" else sys.stdout
            stream.write(harmless(event.data["text"]) if stream.isatty() else event.data["text"])


def _recorded(client: Client, run: str) -> Iterator[Event]:
    for item in client.items(path("runs", run, "journal")):
        rest = {name: value for name, value in item.items() if name not in {"seq", "kind"}}
        yield Event(item["seq"], item["kind"], rest)


def events_to_the_end(client: Client, run: str) -> Iterator[Event]:
    """Yield each event of ``run`` once, to its last, over as many connections as that takes.

    Raises ``PlatformNotRunning`` when the platform stays away for longer than a minute.
    """
    seen, away_since = 0, None
    while True:
        try:
            for event in client.events(path("runs", run, "events"), after=seen):
                seen, away_since = event.seq, None
                yield event
                if event.kind == "state" and event.data["state"] in ENDED:
                    return
        except PlatformNotRunning:
            now = time.monotonic()
            away_since = away_since or now
            if now - away_since > AWAY_S_MAX:
                raise
            time.sleep(_RETRY_S)


def _status(run: dict[str, Any], state: str, backend: str | None) -> str:
    parts = [f"{run['tenant']}/{run['agent']}", state, backend or "", run["run"]]
    return " · ".join(part for part in parts if part)
