"""The platform itself: addresses, settings that are no secret, and what its host can isolate with."""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from insula import __version__
from insula.api.caller import Caller, needs
from insula.api.fields import TrustQuery, View
from insula.api.host import HostReport, judge
from insula.tenancy import parse_trust

router = APIRouter(tags=["platform"])
Reader = Annotated[Caller, Depends(needs("platform:read"))]


class PlatformView(View):
    """A running platform."""

    version: str
    pid: int
    trust: str
    api: str
    gateway: str
    ready: bool
    settings: dict[str, Any]


@router.get("/platform")
def platform(who: Reader) -> PlatformView:
    """Return addresses and settings."""
    running = who.platform
    return PlatformView(
        version=__version__,
        pid=os.getpid(),
        trust=running.settings.trust.value,
        api=running.api_url,
        gateway=running.gateway_url,
        ready=running.ready,
        settings=running.settings.model_dump(mode="json"),
    )


@router.get("/doctor")
async def doctor(who: Reader, trust: TrustQuery = None) -> HostReport:
    """Say what the host can isolate with, what is missing, and the fix."""
    judged = who.platform.settings.trust if trust is None else parse_trust(trust)
    return judge(who.platform.sandboxes.report(), judged)
