"""What an endpoint bears, in the words of those who run it."""

from __future__ import annotations

from collections.abc import Mapping

from insula.governance.fairness import Capacity
from insula.kernel.errors import InvalidRequest

_HELD = {"slots": "slots", "kv_tokens": "kv_tokens"}
_CONSUMED = {"prefill_tps": "prefill_tokens", "decode_tps": "decode_tokens"}
FIGURES = (*_HELD, *_CONSUMED)
"""Calls at once, tokens of cache; tokens read, and tokens written, in a second."""

_MOST = 1_000_000_000


def figures(capacity: Capacity | None) -> dict[str, int | None]:
    """Return the figures of a capacity by name; ``None``: unlimited."""
    held, consumed = (capacity.held, capacity.consumed) if capacity else ({}, {})
    return {
        **{name: held.get(resource) for name, resource in _HELD.items()},
        **{name: consumed.get(resource) for name, resource in _CONSUMED.items()},
    }


def changed(capacity: Capacity | None, changes: Mapping[str, int | None]) -> Capacity | None:
    """Return ``capacity`` with figures changed; ``None`` lifts one. Raises ``InvalidRequest`` naming it."""
    now = figures(capacity)
    for name, value in changes.items():
        now[_known(name)] = _figure(name, value)
    held = {resource: now[name] for name, resource in _HELD.items() if now[name] is not None}
    consumed = {resource: now[name] for name, resource in _CONSUMED.items() if now[name] is not None}
    return Capacity(held, consumed) if held or consumed else None  # type: ignore[arg-type]


def _known(name: str) -> str:
    if name not in FIGURES:
        raise InvalidRequest(f"{name!r} is no figure of a capacity", hint=f"use {', '.join(FIGURES)}")
    return name


def _figure(name: str, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
        raise InvalidRequest(
            f"{name} is {str(value)[:40]!r}",
            hint=f"use a whole number from 1 to {_MOST:,}; --unlimited {name.replace('_', '-')} lifts it",
            field=name,
        )
    return value
