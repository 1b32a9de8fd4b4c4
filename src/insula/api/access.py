"""The outermost layer: a request id, one log line, and an answer even when everything else failed.

The log carries method, route template, status, duration and ids. Never a query string, a header or
a body: those may hold a secret.
"""

from __future__ import annotations

import re
import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from insula.api.problem import Problem, answer, document
from insula.kernel.clock import Clock
from insula.kernel.errors import InsulaError, IsolationBreach
from insula.kernel.ids import mint

_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

log = structlog.get_logger("insula.api")


class Access:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _given_id(scope) or mint("req", self._clock)
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()
        status = 0

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers.setdefault("cache-control", "no-store")
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, receive, stamped)
        except InsulaError as error:
            if status:
                raise
            await answer(document(error, request_id))(scope, receive, stamped)
        except (Exception, IsolationBreach) as error:
            log.error("request_failed", request_id=request_id, error=type(error).__name__, exc_info=True)
            if status == 0:
                await answer(_unexpected(request_id))(scope, receive, stamped)
            if isinstance(error, IsolationBreach):
                raise
        finally:
            _note(scope, request_id, status, time.perf_counter() - began)


def _given_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ACCEPTABLE.fullmatch(value):
            return str(value, "ascii")
    return None


def _unexpected(request_id: str) -> Problem:
    shown = InsulaError(
        "the platform failed to answer this request",
        hint=f"look for {request_id} in the platform's log",
    )
    return document(shown, request_id)


def _note(scope: Scope, request_id: str, status: int, took_s: float) -> None:
    if scope["path"] in _QUIET:
        return
    route = scope.get("route")
    log.info(
        "request",
        request_id=request_id,
        method=scope["method"],
        route=getattr(route, "path", "unmatched"),
        status=status,
        ms=round(took_s * 1000, 1),
        who=scope["state"].get("who", "anonymous"),
    )
