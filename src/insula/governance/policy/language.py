"""What an expression may speak of: variables with types and bounds, functions with signatures.

The one table that the checks, the facts, the playground and the documentation read.
"""

from __future__ import annotations

from dataclasses import dataclass

BOOL, INT, DOUBLE, STRING = "bool", "int", "double", "string"
TIME, SPAN, DECISION = "timestamp", "duration", "decision"
STRINGS = "list(string)"
NUMBERS = frozenset({INT, DOUBLE})
ORDERED = frozenset({INT, DOUBLE, STRING, TIME, SPAN})
LANES = ("interactive", "batch")

MOST_TOOLS = 128
MOST_TAGS = 64
MOST_NAME = 128
"""Characters of a model's, tool's or tag's name."""


def list_of(item: str) -> str:
    """Return the type of lists of ``item``."""
    return f"list({item})"


def item_of(kind: str) -> str | None:
    """Return what a list type holds; ``None`` if it is not one."""
    return kind[5:-1] if kind.startswith("list(") else None


@dataclass(frozen=True, slots=True)
class Variable:
    """``length`` bounds a string's characters or a list's items, ``item_length`` the characters of an item.

    ``default`` is what the playground takes when a request file leaves the variable out.
    """

    type: str
    meaning: str
    default: object
    length: int = 0
    item_length: int = 0


def _window(name: str) -> dict[str, Variable]:
    return {
        f"usage.{name}.quota": Variable(INT, f"quota tokens the tenant used this {name} (UTC)", 0),
        f"usage.{name}.usd": Variable(DOUBLE, f"dollars the tenant spent this {name} (UTC)", 0.0),
        f"usage.{name}.requests": Variable(INT, f"calls the tenant made this {name} (UTC)", 0),
    }


VARIABLES: dict[str, Variable] = {
    "tenant.id": Variable(STRING, "the tenant", "acme", MOST_NAME),
    "tenant.tier": Variable(STRING, "free, pro, enterprise or dedicated", "pro", MOST_NAME),
    "tenant.tags": Variable(STRINGS, "words the operator gave it", (), MOST_TAGS, MOST_NAME),
    "app.id": Variable(STRING, "the application; empty if the call names none", "", MOST_NAME),
    "agent.id": Variable(STRING, "the agent; empty for a call from outside", "", MOST_NAME),
    "agent.depth": Variable(INT, "0 for an agent started from outside, 1 for one that it started, …", 0),
    "request.model": Variable(STRING, "the model asked for", "", MOST_NAME),
    "request.lane": Variable(STRING, "interactive or batch", "interactive", MOST_NAME),
    "request.in_tokens": Variable(INT, "input, estimated", 0),
    "request.max_tokens": Variable(INT, "the most output it may produce", 1024),
    "request.est_quota": Variable(INT, "quota tokens it will take, estimated", 0),
    "request.est_usd": Variable(DOUBLE, "dollars it will cost, estimated", 0.0),
    "request.tools": Variable(STRINGS, "names of the tools it offers", (), MOST_TOOLS, MOST_NAME),
    **_window("hour"),
    **_window("day"),
    **_window("month"),
    "now": Variable(TIME, "the time, UTC", "noon of 2026-01-01"),
}

GROUPS = frozenset(path.rpartition(".")[0] for path in VARIABLES if "." in path) | {"usage"}
"""Names that are only ways to a variable: ``request``, ``usage.day``."""


@dataclass(frozen=True, slots=True)
class Function:
    """``shapes`` maps types of arguments to the type of the result.

    ``literal``: the argument that must be written out, so that it can be checked when the policy is saved.
    ``method``: it must (true), must not (false) or may (none) be called on its first argument.
    """

    shapes: dict[tuple[str, ...], str]
    usage: str
    method: bool | None = False
    literal: int | None = None


def _clock(name: str) -> Function:
    return Function({(TIME,): INT}, f"now.{name}()", method=True)


FUNCTIONS: dict[str, Function] = {
    "allow": Function({(): DECISION}, "allow()"),
    "deny": Function({(STRING,): DECISION}, 'deny("why")'),
    "limit": Function({(INT,): DECISION}, "limit(4000)"),
    "lane": Function({(STRING,): DECISION}, 'lane("batch")', literal=0),
    "size": Function({(STRINGS,): INT}, "size(request.tools)", method=None),
    "startsWith": Function({(STRING, STRING): BOOL}, 'request.model.startsWith("gpt-")', method=True),
    "endsWith": Function({(STRING, STRING): BOOL}, 'request.model.endsWith("-mini")', method=True),
    "contains": Function({(STRING, STRING): BOOL}, 'request.model.contains("opus")', method=True),
    "matches": Function({(STRING, STRING): BOOL}, 'request.model.matches("^gpt-[45]")', True, literal=1),
    "int": Function({(INT,): INT, (DOUBLE,): INT, (STRING,): INT}, "int(x)"),
    "double": Function({(INT,): DOUBLE, (DOUBLE,): DOUBLE, (STRING,): DOUBLE}, "double(x)"),
    "string": Function({(INT,): STRING, (DOUBLE,): STRING, (STRING,): STRING}, "string(x)"),
    "timestamp": Function({(STRING,): TIME}, 'timestamp("2026-12-01T00:00:00Z")', literal=0),
    "duration": Function({(STRING,): SPAN}, 'duration("90m")', literal=0),
    "getFullYear": _clock("getFullYear"),
    "getMonth": _clock("getMonth"),
    "getDate": _clock("getDate"),
    "getDayOfWeek": _clock("getDayOfWeek"),
    "getHours": _clock("getHours"),
    "getMinutes": _clock("getMinutes"),
}
