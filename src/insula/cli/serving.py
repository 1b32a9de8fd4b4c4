"""The HTTP server of the control plane, inside a process that owns its own signals and logs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


class Guest(uvicorn.Server):
    """A server that leaves signals to the process it is a guest of."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def server_of(app: ASGIApp) -> Guest:
    """Return a server for ``app`` on the running loop; ``serve(sockets=[…])`` starts it."""
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
    )
    return Guest(config)
