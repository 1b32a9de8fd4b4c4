"""What is known of a call when policies are asked: the variables of an expression, and their sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from insula.governance.policy.language import MOST_NAME, VARIABLES

Window = Literal["hour", "day", "month"]
_NANO = 1_000_000_000
_MOST_INT = 2**63 - 1


class Spent(NamedTuple):
    """What a tenant used in a window."""

    quota: int = 0
    nanousd: int = 0
    requests: int = 0


def nothing_spent(_window: Window) -> Spent:
    """Say that nothing was used in any window."""
    return Spent()


@dataclass(frozen=True, slots=True)
class Facts:
    """One call. Money is in nano-dollars, ``now`` in seconds since the epoch.

    ``usage`` is asked only for windows that a policy reads.
    """

    tenant: str
    tier: str
    now: float
    tags: tuple[str, ...] = ()
    app: str = ""
    agent: str = ""
    depth: int = 0
    model: str = ""
    lane: str = "interactive"
    in_tokens: int = 0
    max_tokens: int = 0
    est_quota: int = 0
    est_nanousd: int = 0
    tools: tuple[str, ...] = ()
    usage: Callable[[Window], Spent] = nothing_spent
    request_id: str = ""


def _window(name: Window) -> dict[str, Callable[[Facts], object]]:
    return {
        f"usage.{name}.quota": lambda facts: _whole(facts.usage(name).quota),
        f"usage.{name}.usd": lambda facts: facts.usage(name).nanousd / _NANO,
        f"usage.{name}.requests": lambda facts: _whole(facts.usage(name).requests),
    }


_READERS: dict[str, Callable[[Facts], object]] = {
    "tenant.id": lambda facts: facts.tenant,
    "tenant.tier": lambda facts: facts.tier,
    "tenant.tags": lambda facts: facts.tags,
    "app.id": lambda facts: facts.app,
    "agent.id": lambda facts: facts.agent,
    "agent.depth": lambda facts: _whole(facts.depth),
    "request.model": lambda facts: facts.model,
    "request.lane": lambda facts: facts.lane,
    "request.in_tokens": lambda facts: _whole(facts.in_tokens),
    "request.max_tokens": lambda facts: _whole(facts.max_tokens),
    "request.est_quota": lambda facts: _whole(facts.est_quota),
    "request.est_usd": lambda facts: facts.est_nanousd / _NANO,
    "request.tools": lambda facts: facts.tools,
    **_window("hour"),
    **_window("day"),
    **_window("month"),
    "now": lambda facts: datetime.fromtimestamp(facts.now, UTC),
}
assert _READERS.keys() == VARIABLES.keys()


class Unfit(Exception):
    """A fact that cannot be given to an expression: beyond the bounds that costs were computed with, or no
    text at all."""


def read(path: str, facts: Facts) -> object:
    """Return the value of a variable. Raises ``Unfit``, and what ``usage`` raises."""
    value = _READERS[path](facts)
    if isinstance(value, str):
        _check_text(path, value)
    if isinstance(value, tuple):
        most = VARIABLES[path].length
        if len(value) > most:
            raise Unfit(f"{path} holds more than {most} names")
        for item in value:
            _check_text(path, item)
        return list(value)
    return value


def _check_text(path: str, text: str) -> None:
    if len(text) > MOST_NAME:
        raise Unfit(f"{path} holds a text of more than {MOST_NAME} characters")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can smuggle in
            raise Unfit(f"{path} holds what is no character") from None


def _whole(value: int) -> int:
    """Return a count as CEL can hold it: 64 bits."""
    return value if value <= _MOST_INT else _MOST_INT
