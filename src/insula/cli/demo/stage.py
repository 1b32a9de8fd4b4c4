"""A whole platform on loopback for as long as a play takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from insula.cli.client import Client
from insula.cli.serving import server_of
from insula.cli.up import listening
from insula.settings import Settings

T = TypeVar("T")


async def perform(settings: Settings, play: Callable[[Client], T]) -> T:
    """Start a platform with ``settings``, hand an operator's client to ``play`` (in a thread), stop it."""
    from insula.api.app import create_app
    from insula.wiring import Platform

    platform = Platform(settings)
    with listening(settings.host, settings.port) as control:
        host, port = control.getsockname()[:2]
        platform.api_url = f"http://{host}:{port}"
        try:
            await platform.start()
            server = server_of(create_app(platform))
            serving = asyncio.create_task(server.serve(sockets=[control]))
            token = platform.credentials.create_operator("demonstration").secret
            try:
                with Client(platform.api_url, token) as client:
                    return await asyncio.to_thread(play, client)
            finally:
                server.should_exit = True
                await serving
        finally:
            await platform.stop()
