"""A whole platform with real sandboxes, in this process. Run as a program, it ends itself at a failpoint."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from insula.bundles.bundle import BundleFile
from insula.bundles.inspect import bundle_of
from insula.identity import Runs, Storage
from insula.kernel.ids import AgentName, TenantId
from insula.runs import RunService
from insula.settings import Settings
from insula.tenancy import Agent, Tier, Trust
from insula.wiring import Platform

ACME = TenantId("acme")
CALLS = """
import http.client, json, time
ask = {"model": "m1", "messages": [{"role": "user", "content": "a b"}], "max_tokens": 10}
door = http.client.HTTPConnection("127.0.0.1", 8700)
door.request("POST", "/v1/chat/completions", json.dumps(ask), {"content-type": "application/json"})
answer = door.getresponse()
assert answer.status == 200, answer.read()
answer.read()
print("begun", flush=True)
time.sleep(0.3)
print("ended")
"""


def context(platform: Platform) -> Any:
    authority = platform.authority
    return authority.verifier(Runs).verify(authority.mint(ACME, "operator/op1", Runs))


def deploy(platform: Platform, code: str, extra: str = "") -> None:
    text = f'name = "hello"\nentrypoint = "python main.py"\nmodels = ["m1"]\n{extra}'
    files = [BundleFile("agent.toml", 0o644, text.encode()), BundleFile("main.py", 0o644, code.encode())]
    made, authority = bundle_of(files), platform.authority
    ctx = authority.verifier(Storage).verify(authority.mint(ACME, "operator/op1", Storage))
    platform.bundles.put(platform.spaces.open(ctx), made)
    told = made.manifest
    agent = Agent(ACME, told.name, made.digest, told.runtime, told.models, told.limits, 0.0, told.as_dict())
    platform.registry.put_agent(agent)


@asynccontextmanager
async def platform_at(home: Path, reach: Callable[[str], None] | None = None) -> AsyncIterator[Platform]:
    """Start the platform whose home is ``home``; ``reach`` is told of every failpoint."""
    settings = Settings(home=home, port=0, gateway_port=0, trust=Trust.INTERNAL, local_model=False, drain_s=1)
    platform = Platform(settings.resolved())
    if reach is not None:
        platform.runs = RunService(replace(platform.runs._parts, reach=reach))
    await platform.start()
    try:
        yield platform
    finally:
        await platform.drain()
        await platform.stop()


def furnish(platform: Platform, upstream: str) -> None:
    """Register the tenant and the model."""
    platform.tenants.create(ACME, Tier.PRO, {})
    platform.catalog.add_endpoint("up", "openai", upstream, ("m1",), None)
    platform.entitlements.entitle(ACME, "m1")


async def die_at(home: Path, point: str, upstream: str) -> None:
    def reach(passed: str) -> None:
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    async with platform_at(home, reach) as platform:
        furnish(platform, upstream)
        deploy(platform, CALLS)
        view = await platform.runs.submit(context(platform), AgentName("hello"), b"")
        async for _event in platform.runs.follow(context(platform), view.run):
            pass


if __name__ == "__main__":
    asyncio.run(die_at(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
