"""A made-up call from a file: any part of the variables, checked; defaults for the rest. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from insula.governance.policy.complaint import guess
from insula.governance.policy.language import (
    DOUBLE,
    GROUPS,
    INT,
    MOST_NAME,
    STRING,
    STRINGS,
    TIME,
    VARIABLES,
    Variable,
)
from insula.governance.policy.lowering import flat
from insula.kernel.errors import InvalidRequest

_PRESENT = datetime(2026, 1, 1, 12, tzinfo=UTC)
_MOST_INT = 2**63 - 1


def values_of(given: object) -> tuple[dict[str, object], dict[str, object]]:
    """Return the variables by flat name, and by path the defaults of those that ``given`` leaves out.

    ``given`` is nested as expressions are: ``{"request": {"model": "…"}}``. Without ``now`` it is noon of
    2026-01-01, so that a trial can be repeated. Raises ``InvalidRequest`` naming the field and the fix.
    """
    found = {path: _value(path, value) for path, value in _leaves(given, "")}
    values: dict[str, object] = {}
    defaults: dict[str, object] = {}
    for path, variable in VARIABLES.items():
        value = found[path] if path in found else _default(variable)
        values[flat(path)] = value
        if path not in found:
            defaults[path] = value.isoformat() if isinstance(value, datetime) else value
    return values, defaults


def _leaves(given: object, group: str) -> Iterator[tuple[str, object]]:
    if not isinstance(given, Mapping):
        where = group or "the request"
        raise InvalidRequest(
            f"{where} is not an object",
            hint=f"its fields are {', '.join(_inside(group))}",
            field=group or None,
        )
    for name, value in given.items():
        path = f"{group}.{name}" if group else str(name)
        if path in GROUPS:
            yield from _leaves(value, path)
        elif path in VARIABLES:
            yield path, value
        else:
            fix = guess(path, [*VARIABLES, *GROUPS], f"the fields are {', '.join(_inside(group))}")
            raise InvalidRequest(f"there is no variable {path[:60]!r}", hint=fix, field=path[:60])


def _inside(group: str) -> list[str]:
    start = f"{group}." if group else ""
    names = {path.removeprefix(start).partition(".")[0] for path in VARIABLES if path.startswith(start)}
    return sorted(names)


def _value(path: str, value: object) -> object:
    variable = VARIABLES[path]
    match variable.type:
        case str(kind) if kind == STRING:
            if isinstance(value, str) and len(value) <= MOST_NAME:
                return value
            raise _unfit(path, value, f"a string of at most {MOST_NAME} characters")
        case str(kind) if kind == INT:
            if type(value) is int and 0 <= value <= _MOST_INT:
                return value
            raise _unfit(path, value, "a whole number from 0 up")
        case str(kind) if kind == DOUBLE:
            if type(value) in {int, float} and 0 <= value < 1e15:  # type: ignore[operator]
                return float(value)  # type: ignore[arg-type]
            raise _unfit(path, value, "a number from 0 up")
        case str(kind) if kind == STRINGS:
            return _names(path, value, variable)
    assert variable.type == TIME
    return _time(path, value)


def _names(path: str, value: object, variable: Variable) -> list[str]:
    fits = isinstance(value, list) and len(value) <= variable.length
    if not fits or not all(isinstance(one, str) and len(one) <= MOST_NAME for one in value):  # type: ignore[attr-defined]
        raise _unfit(path, value, f"a list of at most {variable.length} short strings")
    return list(value)  # type: ignore[call-overload, no-any-return]


def _time(path: str, value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _unfit(path, value, 'a time with its zone, such as "2026-12-01T09:00:00Z"')
    return moment.astimezone(UTC)


def _default(variable: Variable) -> object:
    if variable.type == TIME:
        return _PRESENT
    return list(variable.default) if isinstance(variable.default, tuple) else variable.default


def _unfit(path: str, value: object, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"{path} is {repr(value)[:60]}", hint=f"give {wanted}", field=path)
