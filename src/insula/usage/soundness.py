"""When a usage event is sound. This runs for every call, so what is usual is passed in a few steps.

The types of all fields are compared at once with those of sound events seen before; figures and texts are
then compared by their extremes. Only what fails is looked at field by field, to name the culprit.
"""

from __future__ import annotations

import itertools
from operator import attrgetter
from typing import Any, Final, NoReturn

from insula.kernel.errors import InvalidRequest
from insula.usage.tokens import MOST_TOKENS, check_parts, shown

MOST_NANOUSD: Final = 10**15
"""A million dollars: no single call costs more."""

MOST_FAIR_NS: Final = 10**16
"""A third of a year of a whole resource: the fair queue charges no single call more."""

KINDS: Final = frozenset({"llm", "tool", "sandbox", "embedding"})
SOURCES: Final = frozenset({"provider", "estimated", "partial"})
ENDS: Final = frozenset({"ok", "length", "client_abort", "upstream_error", "platform_crash"})
LANES: Final = frozenset({"", "interactive", "batch"})
_WHOLE_ENDS = frozenset({"ok", "length"})
_END_OF_TIME: Final = 253_402_300_800.0
_LONGEST: Final = 400

_REQUIRED = ("event_id", "tenant_id", "request_id", "provider", "model_id")
_FREE = ("subject", "endpoint", "request_model", "price_version", "burn_version", "trace_id")
_WORDS = {"kind": KINDS, "usage_source": SOURCES, "stream_end": ENDS, "lane": LANES}
_OPTIONAL = ("agent_id", "run_id", "app_id", "user_id", "parent_run_id")
_PARTS = (
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    "cache_write_1h_tokens",
)
_COUNTS = (
    *_PARTS,
    *("quota_tokens", "input_quota_tokens", "output_quota_tokens", "ledger_tokens", "queue_ms", "attempt"),
)
_MOSTS = {"cost_nanousd": MOST_NANOUSD, "fair_cost": MOST_FAIR_NS, "fair_charged": MOST_FAIR_NS}
_TIMES = ("timestamp", "started_at")

_FIELDS = (*_REQUIRED, *_FREE, *_WORDS, *_OPTIONAL, *_COUNTS, *_MOSTS, *_TIMES)
_fields = attrgetter(*_FIELDS)
_WORDS_FROM = len(_REQUIRED) + len(_FREE)
_TEXTS_END = _WORDS_FROM + len(_WORDS)
_OPTIONAL_END = _TEXTS_END + len(_OPTIONAL)
_COUNTS_END = _OPTIONAL_END + len(_COUNTS)
_SOUND_TYPES: set[tuple[type, ...]] = set()
_SOUND_WORDS = frozenset(
    words
    for words in itertools.product(*_WORDS.values())
    if words[1] != "provider" or words[2] in _WHOLE_ENDS  # who broke off has no final figures
)


def check(event: Any) -> None:
    """Raise ``InvalidRequest``, naming the field, unless ``event`` is honest in all its fields."""
    values = _fields(event)
    types = tuple(map(type, values))
    if types not in _SOUND_TYPES:
        _check_types(values)
        _SOUND_TYPES.add(types)
    _check_texts(values)
    _check_figures(values)
    if values[_WORDS_FROM:_TEXTS_END] not in _SOUND_WORDS:
        _blame_word(event)


def _check_types(values: tuple[Any, ...]) -> None:
    for at, (name, value) in enumerate(zip(_FIELDS, values, strict=True)):
        if at < _TEXTS_END:
            sound, hint = type(value) is str, "give a text"
        elif at < _OPTIONAL_END:
            sound, hint = value is None or type(value) is str, "give a text, or leave it out"
        elif name in _TIMES:
            sound, hint = type(value) in (float, int), "give seconds since the epoch"
        else:
            sound, hint = type(value) is int, "give a whole number"
        if not sound:
            _blame(name, value, hint)


def _check_texts(values: tuple[Any, ...]) -> None:
    texts = values[:_TEXTS_END]
    if not all(texts[: len(_REQUIRED)]):
        _blame(_FIELDS[texts.index("")], "", "it may not be empty")
    if len("".join(texts)) > _LONGEST:  # together longer than one may be: look at each
        for name, text in zip(_FIELDS, texts, strict=False):
            if len(text) > _LONGEST:
                _blame(name, text, f"give at most {_LONGEST} characters")
    for text in values[_TEXTS_END:_OPTIONAL_END]:
        if text is not None and not 0 < len(text) <= _LONGEST:
            name = _FIELDS[values.index(text, _TEXTS_END)]
            _blame(name, text, f"give at most {_LONGEST} characters, or leave it out")


def _check_figures(values: tuple[Any, ...]) -> None:
    counts = values[_OPTIONAL_END:_COUNTS_END]
    if min(counts) < 0 or max(counts) > MOST_TOKENS:
        for name, count in zip(_COUNTS, counts, strict=True):
            if not 0 <= count <= MOST_TOKENS:
                _blame(name, count, f"give a whole number from 0 to {MOST_TOKENS}")
    check_parts(*counts[: len(_PARTS)])
    *sums, ended, started = values[_COUNTS_END:]
    if min(sums) < 0 or max(sums) > MOST_NANOUSD:
        for (name, most), value in zip(_MOSTS.items(), sums, strict=True):
            if not 0 <= value <= most:
                _blame(name, value, f"give a whole number from 0 to {most}")
    if not 0 <= ended < _END_OF_TIME:
        _blame("timestamp", ended, "give seconds since the epoch")
    if not 0 <= started < _END_OF_TIME:
        _blame("started_at", started, "give seconds since the epoch")


def _blame_word(event: Any) -> NoReturn:
    for name, words in _WORDS.items():
        if getattr(event, name) not in words:
            _blame(name, getattr(event, name), f"one of {', '.join(sorted(filter(None, words)))}")
    raise InvalidRequest(
        f"a call that ended in {event.stream_end} claims the provider's final figures",
        hint="estimate them, and say so",
        field="usage_source",
    )


def _blame(name: str, value: object, hint: str) -> NoReturn:
    raise InvalidRequest(f"{name} is {shown(value)}", hint=hint, field=name)
