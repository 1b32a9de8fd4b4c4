"""For machines that watch: alive, ready, metrics. Outside the API and without a token."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from insula.wiring import Platform

router = APIRouter(include_in_schema=False, tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer as long as the process turns its loop."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Say whether new runs are taken: 503 before the start is over and while draining."""
    platform: Platform = request.app.state.platform
    ready = platform.ready
    return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Return the counters in the Prometheus text format. They carry no tenant's data."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return Response(
        generate_latest(request.app.state.platform.metrics), headers={"content-type": CONTENT_TYPE_LATEST}
    )
