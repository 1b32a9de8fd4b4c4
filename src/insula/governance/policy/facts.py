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


class TooLarge(Exception):
    """A fact exceeds the bound that costs were computed with."""


def read(path: str, facts: Facts) -> object:
    """Return the value of a variable. Raises ``TooLarge``."""
    value = _READERS[path](facts)
    if isinstance(value, str) and len(value) > MOST_NAME:
        raise TooLarge(f"{path} is longer than {MOST_NAME} characters")
    if isinstance(value, tuple):
        most = VARIABLES[path].length
        if len(value) > most:
            raise TooLarge(f"{path} holds more than {most} names")
        if any(len(item) > MOST_NAME for item in value):
            raise TooLarge(f"a name in {path} is longer than {MOST_NAME} characters")
        return list(value)
    return value


def _whole(value: int) -> int:
    """Return a count as CEL can hold it: 64 bits."""
    return value if value <= _MOST_INT else _MOST_INT
