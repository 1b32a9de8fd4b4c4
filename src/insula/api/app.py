"""The application: routes, error documents, limits of the edge, and an OpenAPI document that says it all."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from insula import __version__
from insula.api import problem
from insula.api.access import Access
from insula.api.bounded import BodyBound
from insula.api.caller import Contexts
from insula.api.replay import Replay
from insula.api.routes import (
    agents,
    audit,
    burndown,
    chargeback,
    fairness,
    health,
    keys,
    ledger,
    limits,
    models,
    platform,
    policies,
    runs,
    runtimes,
    tenants,
    usage,
)
from insula.wiring import Platform

PREFIX = "/api/v1"

_ABOUT = """The control plane of Insula. Every error is a problem document (RFC 9457) with a
stable `code`, a `hint`, and the `field` at fault. Lists come in pages: pass `next` as `cursor`. POSTs take an
`Idempotency-Key`."""

_PROBLEM: dict[str, Any] = {
    "description": "What went wrong, and what to do.",
    "content": {problem.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def create_app(running: Platform) -> FastAPI:
    """Return the control plane of ``running``, a started platform."""
    app = _routed()
    app.state.platform = running
    app.state.contexts = Contexts(running)
    app.state.changing = asyncio.Lock()
    # The last one added is the outermost.
    app.add_middleware(Replay, credentials=running.credentials, clock=running.clock)
    app.add_middleware(BodyBound)
    app.add_middleware(Access, clock=running.clock)
    return app


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document; needs no platform."""
    return _routed().openapi()


def _routed() -> FastAPI:
    app = FastAPI(
        title="Insula",
        version=__version__,
        description=_ABOUT,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
    )
    app.include_router(_control_plane(), prefix=PREFIX)
    app.include_router(health.router)
    problem.install(app)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _control_plane() -> APIRouter:
    router = APIRouter(responses={"4XX": _PROBLEM, "5XX": _PROBLEM})
    work = (tenants, agents, runs, models, limits, burndown, policies, keys)
    for room in (*work, usage, chargeback, ledger, fairness, runtimes, audit, platform):
        router.include_router(room.router)
    return router


def _operation_id(route: APIRoute) -> str:
    """Return ``noun.verb``, what a generated client would call the operation."""
    return f"{str(route.tags[0]).replace(' ', '_')}.{route.name.rstrip('_')}"


def _document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document with the schema of problems, which no route returns by itself."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        schema = problem.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"]["Problem"] = schema
        app.openapi_schema = document
    return app.openapi_schema
