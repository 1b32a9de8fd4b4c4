"""Writes a checked tree out again, for the library: CEL that means the same, however it was spelt.

What is evaluated is therefore exactly what was checked. Variables become flat names, because the library
takes flat values in a fifth of the time that nested ones need; a decision becomes a list of two.
"""

from __future__ import annotations

from collections.abc import Mapping

from insula.governance.policy.syntax import (
    Binary,
    Call,
    Chain,
    Choice,
    Constant,
    ListOf,
    Loop,
    Name,
    Node,
    Unary,
)

_DECISIONS = frozenset({"deny", "limit", "lane"})


def flat(path: str) -> str:
    """Return the flat name of a variable."""
    return path.replace(".", "_")


def lower(tree: Node) -> str:
    """Return the text for the library."""
    return _text(tree, {})


def _text(node: Node, names: Mapping[str, str]) -> str:
    match node:
        case Constant():
            return _constant(node.value)
        case Name():
            return names.get(node.path) or flat(node.path)
        case ListOf():
            return f"[{_joined(node.items, names)}]"
        case Unary():
            return f"{node.sign}({_text(node.operand, names)})"
        case Binary():
            return f"({_text(node.left, names)}) {node.sign} ({_text(node.right, names)})"
        case Chain():
            return f" {node.sign} ".join(f"({_text(operand, names)})" for operand in node.operands)
        case Choice():
            parts = (_text(part, names) for part in node.parts())
            return "({}) ? ({}) : ({})".format(*parts)
        case Loop():
            item = f"item{len(names)}"
            body = _text(node.body, {**names, node.item: item})
            return f"({_text(node.items, names)}).{node.kind}({item}, {body})"
        case Call():
            return _call(node, names)
    raise AssertionError(node)


def _call(node: Call, names: Mapping[str, str]) -> str:
    if node.function == "allow":
        return "true"
    if node.function in _DECISIONS:
        return f"['{node.function}', {_joined(node.arguments, names)}]"
    if node.method:
        receiver, *rest = node.arguments
        return f"({_text(receiver, names)}).{node.function}({_joined(tuple(rest), names)})"
    return f"{node.function}({_joined(node.arguments, names)})"


def _joined(nodes: tuple[Node, ...], names: Mapping[str, str]) -> str:
    return ", ".join(_text(node, names) for node in nodes)


def _constant(value: bool | int | float | str) -> str:
    if isinstance(value, str):
        return f'"{"".join(map(_character, value))}"'
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _character(one: str) -> str:
    if one in '"\\':
        return f"\\{one}"
    if " " <= one <= "~":
        return one
    return f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}"
