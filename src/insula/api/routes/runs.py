"""Runs: start, look, follow, cancel, explain."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Header, Path, Response
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field

from insula.api.caller import Caller, needs
from insula.api.events import stream
from insula.api.fields import (
    AgentPath,
    Body,
    CursorQuery,
    IdempotencyHeader,
    LimitQuery,
    Page,
    RunPath,
    Stamp,
    TenantPath,
    View,
)
from insula.identity import Runs, VerifiedContext
from insula.kernel.errors import Denied, InvalidRequest, NotFound
from insula.kernel.ids import RunId
from insula.runs import RunEvent
from insula.runs import RunView as Run

router = APIRouter(tags=["runs"])
Reader = Annotated[Caller, Depends(needs("runs:read"))]
Writer = Annotated[Caller, Depends(needs("runs:write"))]
Responses = dict[int | str, dict[str, Any]]
State = Literal["queued", "admitted", "running", "succeeded", "failed", "cancelled", "timed_out", "refused"]
_ANY_BYTES: Responses = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
_EVENTS: Responses = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}


class RunCreate(Body):
    """What a run is given."""

    input: str | None = Field(default=None, max_length=4 * 1024 * 1024, description="Its stdin, as text.")
    input_base64: str | None = Field(
        default=None, max_length=6 * 1024 * 1024, description="Its stdin, when that is not text."
    )
    timeout_s: float | None = Field(default=None, gt=0, le=30 * 86_400, description="Stop it after so long.")
    lane: Literal["interactive", "batch"] = Field(
        default="interactive", description="Inside a tenant, interactive runs go before batch runs."
    )

    def data(self) -> bytes:
        """Return the bytes for stdin. Raises ``InvalidRequest``."""
        if self.input is not None and self.input_base64 is not None:
            raise InvalidRequest("input and input_base64 exclude each other", hint="give one", field="input")
        if self.input_base64 is None:
            return _encoded(self.input or "")
        try:
            return base64.b64decode(self.input_base64, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest(
                "input_base64 is not base64", hint="or send text in `input`", field="input_base64"
            ) from None


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(
            "input holds half a surrogate pair", hint="send bytes in `input_base64`", field="input"
        ) from None


class UsageView(View):
    """What a run's model calls used."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_nanousd: int
    cost_usd: str = Field(description="Dollars, as an exact decimal.")


class ArtifactView(View):
    """A file that the agent left."""

    name: str
    bytes: int


class RunView(View):
    """A run."""

    run: str
    tenant: str
    agent: str
    state: State
    lane: str | None = Field(description="The lane it waits and calls in; null while it is being accepted.")
    backend: str | None = Field(description="The sandbox it ran in; null before it started.")
    exit_code: int | None
    output: str = Field(description="What its last attempt wrote to stdout, bounded by the tier.")
    errors: str = Field(description="What its last attempt wrote to stderr, bounded by the tier.")
    result: Any = Field(description="Its result file: as JSON when it is JSON, else as text.")
    usage: UsageView
    cause: str | None = Field(description="Why it ended so, in one word.")
    reason: str | None = Field(description="Why it ended so, in words.")
    hint: str | None
    attempt: int
    artifacts: list[ArtifactView]
    workspace_destroyed: bool
    created_at: Stamp
    started_at: Stamp | None
    finished_at: Stamp | None

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return the view of ``run``."""
        return cls.model_validate(run.to_json())


class RunLine(View):
    """A run in a list."""

    run: str
    tenant: str
    agent: str
    state: State
    cause: str | None
    created_at: Stamp
    finished_at: Stamp | None


class EventView(View):
    """One line of a run's journal. Further fields depend on ``kind``."""

    model_config = ConfigDict(extra="allow")

    seq: int
    at: Stamp
    kind: Literal["state", "output", "journal"]


class WhyView(View):
    """Why a run went as it did, line by line."""

    run: str
    state: State
    lines: list[str]


@router.post("/tenants/{tenant}/agents/{agent}/runs", status_code=202)
async def start(
    tenant: TenantPath,
    agent: AgentPath,
    who: Writer,
    body: RunCreate | None = None,
    key: IdempotencyHeader = None,
) -> RunView:
    """Start a run. It is durable once this answers; follow it at /runs/{run}/events."""
    given = body or RunCreate()
    context = who.context(tenant, Runs)
    run = await who.platform.runs.submit(
        context, agent, given.data(), timeout_s=given.timeout_s, lane=given.lane, idempotency_key=key
    )
    return RunView.of(run)


@router.get("/tenants/{tenant}/runs")
async def list_(
    tenant: TenantPath, who: Reader, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[RunLine]:
    """List a tenant's runs, newest first."""
    page = await who.platform.runs.list(who.context(tenant, Runs), cursor, limit)
    return Page(items=[RunLine.model_validate(item.to_json()) for item in page.items], next=page.next)


@router.get("/runs/{run}")
async def get(run: RunPath, who: Reader) -> RunView:
    """Return a run with its output, result and usage."""
    return RunView.of(await who.platform.runs.get(await _context(who, run), run))


@router.post("/runs/{run}/cancel")
async def cancel(run: RunPath, who: Writer, _key: IdempotencyHeader = None) -> RunView:
    """Stop a run and destroy its sandbox; one that has ended stays as it is."""
    return RunView.of(await who.platform.runs.cancel(await _context(who, run), run))


@router.get("/runs/{run}/events", response_class=StreamingResponse, responses=_EVENTS)
async def events(
    run: RunPath,
    who: Reader,
    after: Annotated[
        int | None, Header(alias="Last-Event-ID", ge=0, le=2**53, description="Go on behind this event.")
    ] = None,
) -> Response:
    """Follow a run as server-sent events, from its first line to its last, live."""
    context = await _context(who, run)
    await who.platform.runs.get(context, run)
    return stream(_following(who, context, run, after or 0))


async def _following(
    who: Caller, context: VerifiedContext[Runs], run: RunId, after: int
) -> AsyncIterator[RunEvent]:
    """Yield a run's events for as long as it takes: an expired context is proven anew, or the stream ends."""
    while True:
        try:
            async for event in who.platform.runs.follow(context, run, after=after):
                yield event
                after = event.seq
            return
        except Denied as denied:
            if denied.details.get("rule") != "expired":
                raise
            context = who.context(context.tenant, Runs)


@router.get("/runs/{run}/journal")
async def journal(
    run: RunPath, who: Reader, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[EventView]:
    """List what happened to a run, oldest first."""
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidRequest("this is no cursor of a journal", hint="use `next` as it came", field="cursor")
    found = await who.platform.runs.journal(
        await _context(who, run), run, after=int(cursor or 0), limit=limit
    )
    following = str(found[-1].seq) if len(found) == limit else None
    return Page(items=[EventView.model_validate(event.to_json()) for event in found], next=following)


@router.get("/runs/{run}/why")
async def why(run: RunPath, who: Reader) -> WhyView:
    """Explain a run: why it waits, was refused, or ended as it did."""
    context = await _context(who, run)
    view = await who.platform.runs.get(context, run)
    lines = await who.platform.runs.why(context, run)
    return WhyView(run=run, state=view.state.value, lines=list(lines))


@router.get("/runs/{run}/artifacts")
async def artifacts(
    run: RunPath, who: Reader, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[ArtifactView]:
    """List the files that a run left."""
    view = await who.platform.runs.get(await _context(who, run), run)
    behind = [entry for entry in view.artifacts if cursor is None or entry.name > cursor]
    page = sorted(behind, key=lambda entry: entry.name)[:limit]
    following = page[-1].name if len(behind) > limit else None
    return Page(items=[ArtifactView(name=e.name, bytes=e.bytes) for e in page], next=following)


@router.get("/runs/{run}/artifacts/{name:path}", response_class=Response, responses=_ANY_BYTES)
async def artifact(run: RunPath, name: Annotated[str, Path(max_length=1024)], who: Reader) -> Response:
    """Return one file that a run left, as bytes."""
    data = await who.platform.runs.artifact(await _context(who, run), run, name)
    headers = {"content-disposition": "attachment", "content-security-policy": "sandbox"}
    return Response(data, media_type="application/octet-stream", headers=headers)


async def _context(who: Caller, run: RunId) -> VerifiedContext[Runs]:
    """Return the context for the tenant of ``run``. A stranger's run is as absent as one that never was."""
    own = who.principal.tenant
    owner = own if own is not None else await asyncio.to_thread(who.platform.runs.owner, run)
    if owner is None:
        raise NotFound(f"there is no run {run}", hint="insula run list TENANT shows them", field="run")
    return who.context(owner, Runs)
