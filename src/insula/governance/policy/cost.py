"""The worst that evaluating a tree can cost, from bounds alone: refused when saved, not interrupted later.

The unit is about a tenth of a microsecond: half of what a node takes in the library. A loop costs its body as
often as its list can be long, so nesting multiplies. Lists of a caller are bounded by the language; a call
that brings longer ones is not evaluated at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from insula.governance.policy.complaint import Complaint
from insula.governance.policy.language import VARIABLES
from insula.governance.policy.syntax import Binary, Call, Constant, ListOf, Loop, Name, Node

MOST_COST = 10_000
MOST_TEXT = 4_096
_NODE = 2
_ROUND = 6
_CHARACTERS_PER_UNIT = 16
_PATTERN, _PER_CHARACTER = 100, 100
_NUMBER_LENGTH = 400  # a double written out: at most 309 digits before the point
_CONVERSION = 10


@dataclass(frozen=True, slots=True)
class Bound:
    """``cost`` of evaluating; ``length`` of the result in characters or items, ``item_length`` of an item."""

    cost: int
    length: int = 0
    item_length: int = 0


def cost_of(tree: Node) -> int:
    """Return the bound of a whole expression. Raises ``Complaint`` above ``MOST_COST``."""
    cost = _bound(tree, {}).cost
    if cost > MOST_COST:
        raise _too_costly(tree, cost)
    return cost


def _bound(node: Node, names: Mapping[str, Bound]) -> Bound:
    match node:
        case Constant():
            return Bound(_NODE, len(node.value) if isinstance(node.value, str) else 0)
        case Name():
            return _name(node, names)
        case ListOf():
            parts = [_bound(item, names) for item in node.items]
            return Bound(_sum(parts), len(parts), max((part.length for part in parts), default=0))
        case Loop():
            return _loop(node, names)
        case Binary():
            return _binary(node, _bound(node.left, names), _bound(node.right, names))
        case Call():
            return _call(node, [_bound(argument, names) for argument in node.arguments])
    parts = [_bound(part, names) for part in node.parts()]
    return Bound(
        _sum(parts),
        max((part.length for part in parts), default=0),
        max((part.item_length for part in parts), default=0),
    )


def _sum(parts: list[Bound]) -> int:
    return _NODE + sum(part.cost for part in parts)


def _name(node: Name, names: Mapping[str, Bound]) -> Bound:
    if node.path in names:
        return names[node.path]
    variable = VARIABLES[node.path]
    copied = variable.length // 8 if variable.item_length else 0
    return Bound(_NODE + copied, variable.length, variable.item_length)


def _loop(node: Loop, names: Mapping[str, Bound]) -> Bound:
    items = _bound(node.items, names)
    body = _bound(node.body, {**names, node.item: Bound(_NODE, items.item_length)})
    cost = items.cost + _NODE + items.length * (body.cost + _ROUND)
    if cost > MOST_COST:
        raise _too_costly(node, cost)
    return Bound(cost)


def _binary(node: Binary, left: Bound, right: Bound) -> Bound:
    cost = _NODE + left.cost + right.cost
    if node.sign == "in":
        return Bound(cost + right.length * (1 + right.item_length // _CHARACTERS_PER_UNIT // 8))
    if node.sign == "+":
        length = left.length + right.length
        if length > MOST_TEXT:
            raise Complaint(node.at, f"a text could grow beyond {MOST_TEXT} characters", "put less together")
        return Bound(cost + length // _CHARACTERS_PER_UNIT, length)
    shorter = min(left.length, right.length) * max(1, min(left.item_length, right.item_length))
    return Bound(cost + shorter // _CHARACTERS_PER_UNIT)


def _call(node: Call, arguments: list[Bound]) -> Bound:
    cost = _sum(arguments)
    match node.function:
        case "matches":
            pattern, subject = arguments[1].length, arguments[0].length
            return Bound(cost + _PATTERN + _PER_CHARACTER * pattern + subject)
        case "startsWith" | "endsWith" | "contains":
            return Bound(cost + _CONVERSION + sum(part.length for part in arguments) // _CHARACTERS_PER_UNIT)
        case "string":
            return Bound(cost + _CONVERSION, max(_NUMBER_LENGTH, arguments[0].length))
        case "deny":
            return Bound(cost + arguments[0].length // _CHARACTERS_PER_UNIT)
    return Bound(cost + _CONVERSION)


def _too_costly(node: Node, cost: int) -> Complaint:
    return Complaint(
        node.at,
        f"evaluating this could cost {cost:,} steps; the most is {MOST_COST:,}",
        "nest fewer loops, shorten lists and patterns",
    )
