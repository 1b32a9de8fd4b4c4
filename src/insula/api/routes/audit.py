"""The audit: read a stream, check the chains."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Query

from insula.api.caller import Caller, needs, stranger
from insula.api.fields import CursorQuery, LimitQuery, NamePath, Page, Stamp, View
from insula.audit import AuditRecord, VerifyReport
from insula.kernel.errors import InvalidRequest

router = APIRouter(tags=["audit"])
Reader = Annotated[Caller, Depends(needs("audit:read"))]


class RecordView(View):
    """One audit record."""

    seq: int
    at: Stamp
    action: str
    actor: str
    outcome: str
    target: str
    details: dict[str, Any]
    prev: str
    hash: str

    @classmethod
    def of(cls, record: AuditRecord) -> Self:
        """Return the view of ``record``."""
        return cls(**record.as_dict())


class StreamReport(View):
    """Whether one chain holds, and where it breaks."""

    stream: str
    records: int
    ok: bool
    problem: str | None
    at_seq: int | None

    @classmethod
    def of(cls, report: VerifyReport) -> Self:
        """Return the view of ``report``."""
        return cls.model_validate(report, from_attributes=True)


class VerifyView(View):
    """Whether all chains hold."""

    ok: bool
    streams: list[StreamReport]


@router.get("/audit/verify")
def verify(who: Reader, stream: Annotated[str | None, Query(max_length=48)] = None) -> VerifyView:
    """Check every byte of the chains: any edit, removal or reorder is found."""
    audit = who.platform.audit
    own = who.principal.tenant
    if own is not None and stream not in {None, own}:
        raise stranger(str(stream))
    chosen = [own] if own is not None else [stream] if stream else list(audit.streams())
    reports = [StreamReport.of(audit.verify(name)) for name in chosen]
    return VerifyView(ok=all(report.ok for report in reports), streams=reports)


@router.get("/audit/streams/{stream}")
def read(
    stream: NamePath, who: Reader, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[RecordView]:
    """Read a stream, oldest first: a tenant's, or `platform`."""
    own = who.principal.tenant
    if own not in {None, stream} or (own is None and stream not in who.platform.audit.streams()):
        raise stranger(stream)
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidRequest("this is no cursor of a stream", hint="use `next` as it came", field="cursor")
    found = who.platform.audit.read(stream, int(cursor or 0), limit)
    following = str(found[-1].seq) if len(found) == limit else None
    return Page(items=[RecordView.of(record) for record in found], next=following)
