"""A bound on every request body, counted as it arrives: what is declared is not believed.

A bundle and the input of a run have larger bounds of their own; everything else is small JSON.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from insula.bundles import BundleBounds
from insula.kernel.errors import TooLarge

JSON_BYTES_MAX = 1024 * 1024
RUN_BYTES_MAX = 8 * 1024 * 1024
BUNDLE_BYTES_MAX = BundleBounds().packed_bytes


def bound_for(method: str, path: str) -> int:
    """Return the largest body, in bytes, that ``method path`` takes."""
    if method == "POST" and path.startswith("/api/v1/tenants/"):
        if path.endswith("/agents"):
            return BUNDLE_BYTES_MAX
        if path.endswith("/runs"):
            return RUN_BYTES_MAX
    return JSON_BYTES_MAX


class BodyBound:
    """ASGI middleware that raises ``TooLarge`` once a body passes its bound."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bound = bound_for(scope["method"], scope["path"])
        if _declared(scope) > bound:
            raise _too_large(bound)
        seen, started, over = 0, False, False

        async def counted() -> Message:
            nonlocal seen, over
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > bound:
                over = True
                raise _too_large(bound)
            return message

        async def unless_over(message: Message) -> None:
            nonlocal started
            if not over or started:
                started = True
                await send(message)

        try:
            await self._app(scope, counted, unless_over)
        except TooLarge:
            if not over:
                raise
        if over and not started:  # whatever the framework made of it, this is what happened
            raise _too_large(bound)


def _too_large(bound: int) -> TooLarge:
    return TooLarge(
        f"the request body is larger than {bound} bytes",
        hint="send less; agents keep data in artifacts, not in the bundle or the input",
        field="body",
        limit_bytes=bound,
    )


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value[:18]) if value.isdigit() else 0
    return 0
