"""Which request means what: the model calls, the few questions beside them, all that is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from insula.gateway import quota_headers
from insula.gateway.ask import Route
from insula.gateway.destination import own_target
from insula.gateway.json_text import read_object
from insula.gateway.wire import MethodNotAllowed
from insula.governance.ledger import State
from insula.kernel.errors import InsulaError, InvalidRequest, NotFound
from insula.kernel.ids import mint

if TYPE_CHECKING:
    from insula.gateway.caller import Identity
    from insula.gateway.connection import Connection
    from insula.gateway.pipeline import Pipeline
    from insula.gateway.site import Site
    from insula.gateway.wire import Request
    from insula.governance import Quota

_CALLS = {b"/v1/chat/completions": Route.CHAT, b"/v1/completions": Route.COMPLETIONS}
_READS = frozenset({b"GET", b"HEAD"})
_JSON = b"content-type: application/json\r\n"
_LIVE_PATHS = frozenset({b"/healthz", b"/readyz"})
_LIVE = b'{"status":"ok"}'


class Routes:
    """Answers a site's requests."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def handle(self, site: Site, connection: Connection, request: Request) -> None:
        """Answer ``request``, now or through an exchange. Raises ``InsulaError`` if it is refused."""
        identity = None if site.public else site.identify(request)
        path = own_target(request, site.own_hosts)
        if identity is None:
            if path in _LIVE_PATHS:
                connection.reply(200, _JSON, _LIVE)
                return
            identity = site.identify(request)
        call = _CALLS.get(path)
        if call is not None:
            _must_be(request, b"POST")
            self._pipeline.start(connection, identity, call, request.headers, request.body)
        elif path == b"/v1/run":
            _must_be(request, b"PUT")
            self._answer(connection, identity, self._say(identity, request.body))
        else:
            self._read(connection, request, identity, path)

    def _say(self, identity: Identity, body: bytes) -> dict[str, Any]:
        """A run says what it does: while it waits it lends what it has reserved of its tenant's budget."""
        said = read_object(body)
        try:
            state = State(said["state"] if said is not None else "")
        except (KeyError, ValueError, TypeError):
            words = ", ".join(State)
            raise InvalidRequest(
                "the body does not say what the run does",
                hint=f'send {{"state": one of {words}}}',
                field="state",
            ) from None
        if identity.run is None:
            raise NotFound("no run calls here", hint="only a run may say so, through its door", code="no_run")
        ledgers = self._pipeline.parts.ledgers
        donated = ledgers.waiting(identity.tenant, identity.run, state) if ledgers is not None else None
        amount = donated.amount if donated is not None else 0
        return {"object": "run", "id": identity.run, "state": str(state), "donated_tokens": amount}

    def _read(self, connection: Connection, request: Request, identity: Identity, path: bytes) -> None:
        if path == b"/v1/models":
            answer: Any = {"object": "list", "data": self._models(identity)}
        elif path.startswith(b"/v1/models/"):
            answer = self._model(identity, path[len(b"/v1/models/") :].decode("latin-1"))
        elif path == b"/v1/limits":
            answer = self._limits(identity)
        else:
            shown = path.decode("latin-1")[:200]
            raise NotFound(f"there is nothing at {shown}", hint="see GET /v1/models", code="unknown_url")
        _must_be(request, *_READS)
        self._answer(connection, identity, answer)

    def _answer(self, connection: Connection, identity: Identity, answer: Any) -> None:
        parts = self._pipeline.parts
        request_id = mint("req", parts.clock).encode("ascii")
        standing = quota_headers.lines(parts.limits.standing(identity.scope))
        lines = b"%bx-request-id: %b\r\nrequest-id: %b\r\n%b" % (_JSON, request_id, request_id, standing)
        connection.reply(200, lines, json.dumps(answer, separators=(",", ":")).encode("ascii"))

    def _models(self, identity: Identity) -> list[dict[str, Any]]:
        parts = self._pipeline.parts
        granted = [entry.model for entry in parts.entitlements.list(identity.tenant)]
        listed = identity.models
        return [
            {"id": model, "object": "model", "created": 0, "owned_by": "insula"}
            for model in granted
            if (listed is None or model in listed) and parts.catalog.find(model) is not None
        ]

    def _model(self, identity: Identity, name: str) -> dict[str, Any]:
        for entry in self._models(identity):
            if entry["id"] == name:
                return entry
        raise NotFound(
            f"there is no model {name[:128]!r} for you", hint="see GET /v1/models", code="model_not_found"
        )

    def _limits(self, identity: Identity) -> dict[str, Any]:
        standing = self._pipeline.limits.standing(identity.scope)
        return {
            "object": "limits",
            "requests": _quota(standing.requests),
            "tokens": _quota(standing.tokens),
        }


def _quota(quota: Quota | None) -> dict[str, Any] | None:
    if quota is None:
        return None
    return {
        "limit": quota.limit,
        "remaining": quota.remaining,
        "reset_after_s": round(quota.reset_us / 1_000_000, 3),
    }


def _must_be(request: Request, *methods: bytes) -> None:
    if request.method not in methods:
        wanted = " or ".join(sorted(method.decode() for method in methods))
        raise MethodNotAllowed(
            f"{request.method.decode('latin-1')} is not for this path", hint=f"use {wanted}", field="method"
        )


def internal(error: Exception) -> InsulaError:
    """Return what a caller is told of a failure of ours: nothing but that it is ours."""
    return InsulaError(
        "the platform failed to answer", hint="try again; the operator has the details in the log"
    )
