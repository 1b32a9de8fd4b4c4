"""The play: two tenants on different tiers, one curious agent each, both at once."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import insula
from insula.bundles import pack
from insula.cli.client import Client, Event
from insula.cli.demo.verdict import RATE, Shown, judge, unrecorded
from insula.cli.paths import path
from insula.cli.waiting import ENDED

MODEL = "gemma-3-270m"
FORBIDDEN = "costly-model"
AGENT = "curious"
_NOWHERE = "http://127.0.0.1:9/v1"  # the discard port: nothing may ever be sent there
_AUDIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Role:
    """One tenant of the play."""

    tenant: str
    tier: str
    other: str


CAST = (Role("acme", "pro", "globex"), Role("globex", "free", "acme"))


class Audience(Protocol):
    """Whoever watches: told what is being done, and of each event of each tenant's run."""

    def step(self, text: str) -> None: ...
    def event(self, role: Role, event: Event) -> None: ...


def play(client: Client, home: Path, audience: Audience) -> list[Shown]:
    """Set everything up through the control plane, run both agents at once, return what was seen."""
    audience.step("two tenants, their limits and models")
    client.post(
        "/endpoints", {"name": "elsewhere", "kind": "openai", "base_url": _NOWHERE, "models": [FORBIDDEN]}
    )
    for role in CAST:
        client.post("/tenants", {"id": role.tenant, "tier": role.tier})
        client.put(path("tenants", role.tenant, "entitlements", MODEL), {})
        client.patch(path("tenants", role.tenant, "limits"), RATE)
    audience.step("the same agent for both")
    bundle = pack(agent_directory())
    for role in CAST:
        client.upload(path("tenants", role.tenant, "agents"), bundle, "application/gzip")
    audience.step("both run at once")
    with ThreadPoolExecutor(len(CAST)) as pool:
        runs = list(pool.map(lambda role: _run(client, home, role, audience), CAST))
    audience.step("the platform's own records")
    return [
        judge(role.tier, run, _refusals(client, role, run), runs)
        for role, run in zip(CAST, runs, strict=True)
    ]


def agent_directory() -> Path:
    """Where the agent of the demonstration lies: in the checkout, or in the installed package."""
    package = Path(insula.__file__).parent
    places = (package.parents[1] / "examples" / "demo-agent", package / "cli" / "demo" / "agent")
    return next(place for place in places if (place / "agent.toml").is_file())


def _run(client: Client, home: Path, role: Role, audience: Audience) -> dict[str, Any]:
    task = {
        "tenant": role.tenant,
        "other": role.other,
        "home": str(home),
        "model": MODEL,
        "forbidden_model": FORBIDDEN,
    }
    started = client.post(path("tenants", role.tenant, "agents", AGENT, "runs"), {"input": json.dumps(task)})
    for event in client.events(path("runs", started["run"], "events")):
        audience.event(role, event)
        if event.kind == "state" and event.data["state"] in ENDED:
            break
    return _settled(client, started["run"])


def _settled(client: Client, run: str) -> dict[str, Any]:
    """The run once its workspace is gone too, which is confirmed a moment after its end."""
    deadline = time.monotonic() + _AUDIT_S
    while True:
        found: dict[str, Any] = client.get(path("runs", run))
        if found["workspace_destroyed"] or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _refusals(client: Client, role: Role, run: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """What the platform itself recorded as refused to this run; the record is written within a second."""
    deadline = time.monotonic() + _AUDIT_S
    while True:
        records = client.items(path("audit", "streams", role.tenant))
        refused = [r for r in records if r["outcome"] == "refused" and run["run"] in json.dumps(r)]
        if not unrecorded(refused) or time.monotonic() > deadline:
            return refused
        time.sleep(0.2)
