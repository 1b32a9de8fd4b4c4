"""The doctor: asks the running platform, or examines this host itself."""

from __future__ import annotations

import asyncio
from typing import Any

from insula.cli import show
from insula.cli.place import Place


def examine(place: Place, trust: str | None) -> dict[str, Any]:
    """Return the report on the host of the platform, or on this one when no platform runs."""
    if place.url is not None or place.running() is not None:
        with place.client() as client:
            return {"platform": "running", **client.get("/doctor", trust=trust)}
    return {"platform": "not running", **_examine_here(place, trust)}


def _examine_here(place: Place, trust: str | None) -> dict[str, Any]:
    from insula.api.host import judge
    from insula.sandbox import probe_host
    from insula.settings import load

    settings = load(home=place.home, trust=trust)
    return judge(asyncio.run(probe_host()), settings.trust).model_dump()


def render(found: dict[str, Any]) -> None:
    """Print the report: each check, and below a failed one its fix."""
    show.line(f"platform: {found['platform']}, trust: {found['trust']}")
    show.line("")
    show.line("isolation, strongest first")
    for backend in found["backends"]:
        _entry(backend["status"], backend["name"], backend["missing"])
    show.line("")
    show.line(f"tiers under trust={found['trust']}")
    for tier in found["tiers"]:
        lacks = [] if tier["ok"] else [{"what": tier["detail"], "fix": tier["fix"]}]
        detail = f"floor {tier['floor']}" + (f", {tier['detail']}" if tier["ok"] else "")
        _entry("passed" if tier["ok"] else "missing", f"{tier['tier']:<11} {detail}", lacks)
    if not found["ok"]:
        fix = next(tier["fix"] for tier in found["tiers"])
        show.say(f"error: under trust={found['trust']} no agent could run here\nhint: {fix}")


def _entry(status: str, name: str, lacks: list[dict[str, str]]) -> None:
    show.mark(status, name)
    for lack in lacks:
        show.line(f"          {lack['what']}")
        show.line(f"          fix: {lack['fix']}")
