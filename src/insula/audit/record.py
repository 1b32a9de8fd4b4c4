"""One audit record, its canonical line, and the link that chains it to the one before. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["ok", "refused"]

_FIELDS = ("seq", "at", "action", "actor", "outcome", "target", "details", "prev", "hash")


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """``seq`` counts from 1 in its stream, ``at`` is RFC 3339 UTC, ``prev`` and ``hash`` are hex."""

    seq: int
    at: str
    action: str
    actor: str
    outcome: Outcome
    target: str
    details: Mapping[str, Any] = field(default_factory=dict)
    prev: str = ""
    hash: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _FIELDS}


def canonical(fields: Mapping[str, Any]) -> bytes:
    """Return the one spelling of ``fields`` as JSON: sorted keys, no spaces, ASCII."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def genesis(key: bytes, stream: str) -> str:
    """Return what stands before the first record: it differs per stream, so files cannot change places."""
    return hmac.new(key, b"insula audit 1\0" + stream.encode(), hashlib.sha256).hexdigest()


def link(key: bytes, prev: str, body: Mapping[str, Any]) -> str:
    """Return ``HMAC-SHA256(key, prev || canonical(body))``, where ``body`` has every field but ``hash``."""
    return hmac.new(key, bytes.fromhex(prev) + canonical(body), hashlib.sha256).hexdigest()


def to_line(record: AuditRecord) -> bytes:
    return canonical(record.as_dict()) + b"\n"


def from_line(line: bytes) -> AuditRecord:
    """Return the record of a canonical line. Raises ``ValueError`` for anything else, to the byte."""
    fields = json.loads(line)
    if not isinstance(fields, dict) or set(fields) != set(_FIELDS) or type(fields["seq"]) is not int:
        raise ValueError("not an audit record")
    record = AuditRecord(**fields)
    if to_line(record) != line:
        raise ValueError("not in canonical form")
    return record
