"""One row of the table: for which models, from which day, which rates, says who. Checked on the way in."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import Any, Self

from insula.governance.burndown.burn import Burn, Confidence
from insula.governance.burndown.names import model_name, provider_name
from insula.kernel.errors import Misconfigured

ANY = "*"
MOST = 1_000_000
"""The highest rate a row may state, in thousandths: a thousand quota tokens for one."""

_WILD = re.compile(r"\[[^\]]*\]|[*?]")
_RATES = ("out", "in", "cache_read", "cache_write")
_WORDS = ("provider", "endpoint", "model", "family", "source")
_DATES = ("effective_from", "checked_on")
FIELDS = (*_WORDS[:4], "effective_from", *_RATES, "source", "checked_on", "confidence")


@dataclass(frozen=True, slots=True)
class Row:
    """Rates for some models at some endpoints.

    ``provider``, ``endpoint`` and ``model`` may be ``*``; ``model`` may hold ``*`` and ``[...]`` as in file
    names. ``rank`` orders rows that all match: an operator's before ours, the narrower before the wider.
    """

    provider: str
    endpoint: str
    model: str
    family: str
    burn: Burn
    rank: tuple[bool, bool, bool, int, date] = field(compare=False)

    @classmethod
    def parse(cls, given: object, where: str, *, own: bool = False) -> Self:
        """Return a row from outside data; ``where`` names it in errors, ``own`` says an operator wrote it.

        Raises ``Misconfigured`` naming the field, its problem and the fix.
        """
        if not isinstance(given, Mapping):
            raise Misconfigured(f"{where} is not a table", hint="begin each row with [[row]]", field=where)
        _no_strangers(given, where)
        words = {name: _word(given, name, where) for name in _WORDS}
        days = {name: _day(given, name, where) for name in _DATES}
        rates = {name: _rate(given, name, where) for name in _RATES}
        provider = provider_name(words["provider"])
        model = ANY if words["model"] == ANY else _pattern(words["model"])
        endpoint = words["endpoint"].lower()
        named = (provider, endpoint, model)
        burn = Burn(
            input=rates["in"],
            cache_read=rates["cache_read"],
            cache_write=rates["cache_write"],
            output=rates["out"],
            version=f"{'own:' if own else ''}{'/'.join(named)}@{days['effective_from']}",
            source=words["source"],
            confidence=_confidence(given, where),
            effective_from=days["effective_from"],
            checked_on=days["checked_on"],
        )
        literal = len(_WILD.sub("", model))
        rank = (own, provider != ANY, endpoint != ANY, literal, days["effective_from"])
        return cls(*named, words["family"].lower(), burn, rank)

    def covers(self, provider: str, endpoint: str, on: date) -> bool:
        """Whether this row speaks of that endpoint on that day; of ``*``, if of any of the provider's."""
        return (
            self.burn.effective_from <= on
            and self.provider in {ANY, provider}
            and (endpoint == ANY or self.endpoint in {ANY, endpoint})
        )

    def matches(self, model: str) -> bool:
        """Whether this row speaks of a model, by its plain name."""
        return fnmatchcase(model, self.model)


def _no_strangers(given: Mapping[str, Any], where: str) -> None:
    for name in given:
        if name not in FIELDS:
            near = difflib.get_close_matches(str(name), FIELDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(FIELDS)}"
            raise Misconfigured(
                f"{where} has a field {str(name)[:60]!r} that nobody knows", hint=hint, field=str(name)[:60]
            )


def _word(given: Mapping[str, Any], name: str, where: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > 500:
        raise Misconfigured(
            f"{where}: {name} is {_shown(value)}", hint=f"give {name} as text, at most 500 long", field=name
        )
    return value.strip()


def _day(given: Mapping[str, Any], name: str, where: str) -> date:
    value = given.get(name)
    if not isinstance(value, date) or isinstance(value, datetime):
        raise Misconfigured(
            f"{where}: {name} is {_shown(value)}, not a day",
            hint=f"write {name} = 2026-05-28, without quotes and without a time",
            field=name,
        )
    return value


def _rate(given: Mapping[str, Any], name: str, where: str) -> int:
    value = given.get(name)
    if type(value) is not int or not 0 <= value <= MOST:
        raise Misconfigured(
            f"{where}: {name} is {_shown(value)}",
            hint=f"give whole thousandths of a quota token from 0 to {MOST}: 5000 burns five for one",
            field=name,
        )
    return value


def _confidence(given: Mapping[str, Any], where: str) -> Confidence:
    value = given.get("confidence")
    for one in Confidence:
        if value == one.value:
            return one
    hint = f"use one of {', '.join(Confidence)}"
    raise Misconfigured(f"{where}: confidence is {_shown(value)}", hint=hint, field="confidence")


def _pattern(written: str) -> str:
    """Return a pattern in the spelling that models are matched in."""
    return written.lower() if any(sign in written for sign in "*?[") else model_name(written)


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    if type(value) is int and value.bit_length() > 100:
        return f"a number of {value.bit_length()} bits"
    return repr(value)[:60]
