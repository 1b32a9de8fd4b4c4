"""One call, as it is billed: the usage event."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final

from insula.kernel.errors import InvalidRequest
from insula.usage.tokens import Tokens, check_counts, check_parts, shown

SCHEMA: Final = 1
UNPRICED: Final = "unpriced"
"""Price version of a call to a model whose price nobody knows."""

MOST_NANOUSD: Final = 10**15
_END_OF_TIME: Final = 253_402_300_800.0
_LONGEST: Final = 400

KINDS: Final = frozenset({"llm"})
SOURCES: Final = frozenset({"provider", "estimated", "partial"})
ENDS: Final = frozenset({"ok", "client_abort", "upstream_error"})
_COUNTS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "quota_tokens",
    "attempt",
)
_REQUIRED = ("event_id", "tenant_id", "request_id", "provider", "model_id")
_TEXTS = (*_REQUIRED, "subject", "endpoint", "request_model", "price_version", "trace_id")
_OPTIONAL = ("agent_id", "run_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """What one call used. Checked when made: a figure that is not honest never reaches the books.

    ``event_id`` is the key of deduplication. ``timestamp`` (when the call ended) and ``started_at`` are
    seconds since the epoch. Token counts follow ``Tokens``. ``usage_source`` says whose figures they are:
    the provider's, ours (``estimated``), or the provider's up to where a stream was cut (``partial``).
    A call that did not end ``ok`` cannot claim the provider's final figures. Money is whole nano-dollars;
    ``price_version`` names the price list, or ``unpriced``.

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

    def __post_init__(self) -> None:
        counts = _counts(self)
        check_counts(_COUNTS, counts)
        check_parts(*counts[:5])
        _check_texts(self)
        _check_words(self)
        _check_times(self)
        if type(self.cost_nanousd) is not int or not 0 <= self.cost_nanousd <= MOST_NANOUSD:
            raise InvalidRequest("cost is not a whole number of nano-dollars in range", field="cost_nanousd")

    @property
    def tokens(self) -> Tokens:
        """The token counts alone."""
        return Tokens(*_counts(self)[:5])

    def as_dict(self) -> dict[str, Any]:
        """Return every field by name, with the schema version."""
        return {"schema": SCHEMA, **dict(zip(_NAMES, _values(self), strict=True))}

    def pack(self) -> bytes:
        """Return the journal form: a JSON array, the schema version first, fields in order."""
        return _encode((SCHEMA, *_values(self))).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> UsageEvent:
        """Return the event that ``pack`` wrote. Raises ``InvalidRequest`` for anything else."""
        try:
            row = json.loads(packed)
        except ValueError:
            raise InvalidRequest("this is not a usage event", field="event") from None
        if not isinstance(row, list) or len(row) != len(_NAMES) + 1 or row[0] != SCHEMA:
            raise InvalidRequest(
                f"this is not a usage event of schema {SCHEMA}",
                hint="start the version of the platform that wrote it",
                field="schema",
            )
        return cls(**dict(zip(_NAMES, row[1:], strict=True)))


_NAMES = tuple(field.name for field in fields(UsageEvent))
_values = attrgetter(*_NAMES)
_encode = json.JSONEncoder(separators=(",", ":")).encode
_counts = attrgetter(*_COUNTS)
_texts = attrgetter(*_TEXTS)
_required = attrgetter(*_REQUIRED)
_optional = attrgetter(*_OPTIONAL)


def _check_texts(event: UsageEvent) -> None:
    for text in _texts(event):
        if type(text) is not str or len(text) > _LONGEST:
            _blame(event, _TEXTS, text, f"give at most {_LONGEST} characters")
    for text in _required(event):
        if not text:
            _blame(event, _REQUIRED, text, "it may not be empty")
    for text in _optional(event):
        if text is not None and (type(text) is not str or not 0 < len(text) <= _LONGEST):
            _blame(event, _OPTIONAL, text, f"give at most {_LONGEST} characters, or leave it out")


def _blame(event: UsageEvent, names: tuple[str, ...], value: object, fix: str) -> None:
    name = next(name for name in names if getattr(event, name) is value)
    raise InvalidRequest(f"{name} is {shown(value)}", hint=fix, field=name)


def _check_words(event: UsageEvent) -> None:
    if event.kind not in KINDS:
        _blame_word("kind", event.kind, KINDS)
    if event.usage_source not in SOURCES:
        _blame_word("usage_source", event.usage_source, SOURCES)
    if event.stream_end not in ENDS:
        _blame_word("stream_end", event.stream_end, ENDS)
    if event.stream_end != "ok" and event.usage_source == "provider":
        raise InvalidRequest(
            f"a call that ended in {event.stream_end} claims the provider's final figures",
            hint="estimate them, and say so",
            field="usage_source",
        )


def _blame_word(name: str, word: object, words: frozenset[str]) -> None:
    raise InvalidRequest(f"{name} is {shown(word)}", hint=f"one of {', '.join(sorted(words))}", field=name)


def _check_times(event: UsageEvent) -> None:
    for name, moment in (("timestamp", event.timestamp), ("started_at", event.started_at)):
        if type(moment) not in (float, int) or not 0 <= moment < _END_OF_TIME:
            hint = "give seconds since the epoch"
            raise InvalidRequest(f"{name} is {shown(moment)}", hint=hint, field=name)
