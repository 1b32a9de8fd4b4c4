"""One call, as it is billed: the usage event."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final

from insula.kernel.errors import InvalidRequest
from insula.usage import soundness
from insula.usage.tokens import FIGURES, Tokens

SCHEMA: Final = 2
UNPRICED: Final = "unpriced"
"""Price version of a call to a model whose price nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """What one call used. Checked when made: a figure that is not honest never reaches the books.

    ``event_id`` is the key of deduplication. ``timestamp`` (when the call ended) and ``started_at`` are
    seconds since the epoch. ``kind`` says what was used; for anything but a model, ``model_id`` names the
    tool or the sandbox. Token counts follow ``Tokens``; ``cache_write_1h_tokens`` is the part of the cache
    writes that is kept for an hour. ``usage_source`` says whose figures they are: the provider's, ours
    (``estimated``), or the provider's up to where a stream was cut (``partial``). A call that broke off
    cannot claim the provider's final figures; one that a budget ended (``length``) can.

    One record says what each account was debited: ``quota_tokens`` the limits in quota tokens (by row
    ``burn_version`` of the burndown; empty where tokens count one for one), ``input_quota_tokens`` and
    ``output_quota_tokens`` the limits on one direction, ``ledger_tokens`` the tenant's ledger (0 without
    one), ``fair_cost`` what the call cost in dominant nanoseconds and ``fair_charged`` what the fair queue
    charged for it in all. Money is whole nano-dollars; ``price_version`` names the price list, or
    ``unpriced``. ``queue_ms`` is the time spent in ``lane``.

    Raises ``InvalidRequest`` naming the field.
    """

    event_id: str
    tenant_id: str
    request_id: str
    provider: str
    model_id: str
    timestamp: float
    started_at: float
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    quota_tokens: int = 0
    cost_nanousd: int = 0
    price_version: str = UNPRICED
    agent_id: str | None = None
    run_id: str | None = None
    subject: str = ""
    endpoint: str = ""
    request_model: str = ""
    attempt: int = 1
    kind: str = "llm"
    usage_source: str = "provider"
    stream_end: str = "ok"
    trace_id: str = ""
    # Since schema 2. The journal form goes by order: new fields come last.
    app_id: str | None = None
    user_id: str | None = None
    parent_run_id: str | None = None
    burn_version: str = ""
    lane: str = ""
    queue_ms: int = 0
    input_quota_tokens: int = 0
    output_quota_tokens: int = 0
    cache_write_1h_tokens: int = 0
    ledger_tokens: int = 0
    fair_cost: int = 0
    fair_charged: int = 0

    def __post_init__(self) -> None:
        soundness.check(self)

    @property
    def tokens(self) -> Tokens:
        """The token counts alone."""
        return Tokens(*_tokens(self))

    def as_dict(self) -> dict[str, Any]:
        """Return every field by name, with the schema version."""
        return {"schema": SCHEMA, **dict(zip(_NAMES, _values(self), strict=True))}

    def pack(self) -> bytes:
        """Return the journal form: a JSON array, the schema version first, fields in order."""
        return _encode((SCHEMA, *_values(self))).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> UsageEvent:
        """Return the event that ``pack`` wrote, with this schema or an older one.

        Raises ``InvalidRequest`` for anything else.
        """
        try:
            row = json.loads(packed)
        except ValueError:
            raise InvalidRequest("this is not a usage event", field="event") from None
        names = _names(row)
        if names is None or len(row) != len(names) + 1:
            raise InvalidRequest(
                f"this is not a usage event of schema {SCHEMA} or older",
                hint="start the version of the platform that wrote it",
                field="schema",
            )
        return cls(**dict(zip(names, row[1:], strict=True)))


_NAMES = tuple(field.name for field in fields(UsageEvent))
_SCHEMAS = {1: _NAMES[: _NAMES.index("trace_id") + 1], SCHEMA: _NAMES}
_values = attrgetter(*_NAMES)
_tokens = attrgetter(*(f"{name}_tokens" for name in FIGURES))
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _names(row: object) -> tuple[str, ...] | None:
    """Return the fields that a row of the journal carries, by its schema; ``None`` if it is none."""
    return _SCHEMAS.get(row[0]) if isinstance(row, list) and row and type(row[0]) is int else None
