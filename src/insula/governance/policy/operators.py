"""What the operators do with two types, and how a type is named in a complaint. Pure functions of types."""

from __future__ import annotations

from insula.governance.policy.complaint import Complaint
from insula.governance.policy.language import (
    BOOL,
    DOUBLE,
    INT,
    NUMBERS,
    ORDERED,
    SPAN,
    STRING,
    TIME,
    item_of,
)
from insula.governance.policy.syntax import Binary, Constant

_TIMELY = {
    ("+", TIME, SPAN): TIME,
    ("+", SPAN, TIME): TIME,
    ("+", SPAN, SPAN): SPAN,
    ("-", TIME, SPAN): TIME,
    ("-", TIME, TIME): SPAN,
    ("-", SPAN, SPAN): SPAN,
}


def result_of(node: Binary, left: str, right: str) -> str:
    """Return the type of an operation on two types. Raises ``Complaint`` if it is not defined."""
    if node.sign == "in":
        return _membership(node, left, right)
    if node.sign in {"==", "!="}:
        return _equality(node, left, right)
    if node.sign in {"<", "<=", ">", ">="}:
        return _ordering(node, left, right)
    return _arithmetic(node, left, right)


def _membership(node: Binary, left: str, right: str) -> str:
    if item_of(right) is None:
        raise Complaint(node.at, f"`in` looks into a list, not {a(right)}", 'write x in ["a", "b"]')
    if item_of(right) != left:
        raise Complaint(node.at, f"{a(left)} is never in {a(right)}", "compare like with like")
    return BOOL


def _equality(node: Binary, left: str, right: str) -> str:
    if left == right or {left, right} <= NUMBERS:
        return BOOL
    raise _mixed(node, left, right)


def _ordering(node: Binary, left: str, right: str) -> str:
    if left in ORDERED and (left == right or {left, right} <= NUMBERS):
        return BOOL
    raise _mixed(node, left, right)


def _arithmetic(node: Binary, left: str, right: str) -> str:
    timely = _TIMELY.get((node.sign, left, right))
    if timely is not None:
        return timely
    if left != right:
        raise _mixed(node, left, right)
    if left == INT and node.sign in {"/", "%"}:
        if isinstance(node.right, Constant) and node.right.value == 0:
            raise Complaint(node.right.at, "this divides by zero", "divide by something else")
        return INT
    if left == INT or (left == DOUBLE and node.sign != "%") or (left == STRING and node.sign == "+"):
        return left
    raise Complaint(node.at, f"{node.sign} is not defined for {a(left)}", "use numbers, or + with strings")


def _mixed(node: Binary, left: str, right: str) -> Complaint:
    fix = cast(left, right) if left != right else "compare numbers, strings or times"
    return Complaint(node.at, f"{node.sign} stands between {a(left)} and {a(right)}", fix)


def cast(found: str, wanted: str) -> str:
    """Return what to do about a value of one type where another is wanted."""
    if {found, wanted} == NUMBERS:
        return "make both the same: double(x) or int(x)"
    if wanted == BOOL:
        return "compare it with something, such as x > 0"
    if STRING in {found, wanted} and NUMBERS & {found, wanted}:
        return "write numbers without quotes, strings with them"
    return f"give {a(wanted)}"


def a(kind: str) -> str:
    """Return a type's name with its article."""
    item = item_of(kind)
    if item is not None:
        return f"a list of {item}s"
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
