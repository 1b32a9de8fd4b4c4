"""The tree of an expression. Every node knows where it stands in the text and how deep it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal as Word

LoopKind = Word["all", "exists", "exists_one"]


@dataclass(frozen=True, slots=True)
class Node:
    """``at`` is an offset into the source."""

    at: int
    depth: int = field(init=False, default=1)

    def parts(self) -> tuple[Node, ...]:
        """Return the nodes directly inside."""
        return ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", 1 + max((part.depth for part in self.parts()), default=0))


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """A literal: true, 7, 0.5, "text"."""

    value: bool | int | float | str


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A variable by its whole path (``request.model``), or the name that a loop gives its item."""

    path: str


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    items: tuple[Node, ...]

    def parts(self) -> tuple[Node, ...]:
        return self.items


@dataclass(frozen=True, slots=True)
class Unary(Node):
    sign: str
    operand: Node

    def parts(self) -> tuple[Node, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Binary(Node):
    sign: str
    left: Node
    right: Node

    def parts(self) -> tuple[Node, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """Operands joined by one sign, ``&&`` or ``||``: as wide as written, not as deep."""

    sign: str
    operands: tuple[Node, ...]

    def parts(self) -> tuple[Node, ...]:
        return self.operands


@dataclass(frozen=True, slots=True)
class Choice(Node):
    """``condition ? yes : no``."""

    condition: Node
    yes: Node
    no: Node

    def parts(self) -> tuple[Node, ...]:
        return (self.condition, self.yes, self.no)


@dataclass(frozen=True, slots=True)
class Call(Node):
    """``function(arguments)``; a method's receiver is its first argument."""

    function: str
    arguments: tuple[Node, ...]
    method: bool

    def parts(self) -> tuple[Node, ...]:
        return self.arguments


@dataclass(frozen=True, slots=True)
class Loop(Node):
    """``items.all(item, body)`` and its kin."""

    kind: LoopKind
    items: Node
    item: str
    body: Node

    def parts(self) -> tuple[Node, ...]:
        return (self.items, self.body)
