"""``NAME=VALUE`` words of the command line as overrides of a profile. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from insula.kernel.errors import InvalidRequest


def parse_overrides(words: Iterable[str]) -> dict[str, str | int | float]:
    """Return the overrides that ``words`` name; numbers become numbers. Raises ``InvalidRequest``."""
    found: dict[str, str | int | float] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name or not value.strip():
            raise InvalidRequest(f"{word[:60]!r} is not NAME=VALUE", hint="for example --set compute=microvm")
        found[name] = _value(value.strip())
    return found


def _value(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if kind is int or abs(number) < float("inf"):
            return number
    return text
