"""Following a chain from its first line to its anchored head. Pure: lines in, report out."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from insula.audit.record import AuditRecord, from_line, genesis, link

Head = tuple[int, str]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """``problem`` says how the first broken place looks, ``at_seq`` where; ``records`` before it are good."""

    stream: str
    records: int
    ok: bool
    problem: str | None = None
    at_seq: int | None = None


def verify_lines(key: bytes, stream: str, lines: Iterable[bytes], head: Head | None) -> VerifyReport:
    """Check every line (each ends in a newline unless torn) and the anchored ``head`` of ``stream``."""
    seq, prev = 0, genesis(key, stream)
    anchored = head is None or head[0] == 0
    for line in lines:
        problem = check_line(key, line, seq + 1, prev)
        if problem is not None:
            return VerifyReport(stream, seq, False, problem, seq + 1)
        seq, prev = seq + 1, from_line(line).hash
        if head is not None and seq == head[0]:
            if not hmac.compare_digest(prev, head[1]):
                return VerifyReport(stream, seq - 1, False, "the anchored head is another record", seq)
            anchored = True
    if anchored:
        return VerifyReport(stream, seq, True)
    assert head is not None
    return VerifyReport(stream, seq, False, f"records {seq + 1} to {head[0]} were removed", seq + 1)


def check_line(key: bytes, line: bytes, seq: int, prev: str) -> str | None:
    """Return what is wrong with ``line`` as record ``seq`` after ``prev``, or ``None``."""
    if not line.endswith(b"\n"):
        return "the line is torn"
    try:
        record = from_line(line)
    except (ValueError, TypeError, RecursionError):
        return "the line is not a record"
    if not hmac.compare_digest(_hash_of(key, record), record.hash.encode()):
        return "the record was edited"
    if record.seq != seq:
        return f"record {record.seq} stands where {seq} belongs: removed, inserted or reordered"
    return None if hmac.compare_digest(record.prev, prev) else "the record does not follow the one before it"


def _hash_of(key: bytes, record: AuditRecord) -> bytes:
    body = record.as_dict()
    del body["hash"]
    try:
        return link(key, record.prev, body).encode()
    except (ValueError, TypeError):
        return b""
