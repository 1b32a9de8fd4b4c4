"""From text to tree: recursive descent over the grammar of the CEL specification, as far as policies use it.

It exists because the library that evaluates does not give its tree away, and everything that is checked
when a policy is saved needs one: names, types, cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from insula.governance.policy.complaint import Complaint
from insula.governance.policy.lexer import Token, tokens
from insula.governance.policy.syntax import (
    Binary,
    Call,
    Chain,
    Choice,
    Constant,
    ListOf,
    Loop,
    LoopKind,
    Name,
    Node,
    Unary,
)

MOST_CHARACTERS = 4_096
MOST_DEPTH = 32
MOST_PARTS = 100
"""Operands of a chain, items of a list."""

_LOOPS = frozenset({"all", "exists", "exists_one"})
_COMPARED = frozenset({"==", "!=", "<", "<=", ">", ">="})
_RESERVED = frozenset(
    {
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function"),
        *("if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
    }
)


def parse(source: str) -> Node:
    """Return the tree of an expression. Raises ``Complaint`` for text that is none, or too much of it."""
    if len(source) > MOST_CHARACTERS:
        raise Complaint(
            MOST_CHARACTERS,
            f"the expression is longer than {MOST_CHARACTERS} characters",
            "make several policies of it",
        )
    if not source.strip():
        raise Complaint(0, "there is no expression", "write one, such as request.max_tokens <= 4000")
    return _Parser(list(tokens(source))).whole()


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._next = 0
        self._open = 0

    def whole(self) -> Node:
        node = self._expression()
        if self._now.kind != "end":
            raise self._unexpected("an operator, or the end")
        return node

    @property
    def _now(self) -> Token:
        return self._tokens[self._next]

    def _is(self, *signs: str) -> bool:
        return self._now.value in signs and self._now.kind in {"sign", "name"}

    def _take(self) -> Token:
        token = self._now
        self._next += 1
        return token

    def _need(self, sign: str) -> Token:
        if not self._is(sign):
            raise self._unexpected(repr(sign))
        return self._take()

    def _unexpected(self, wanted: str) -> Complaint:
        token = self._now
        shown = "the end" if token.kind == "end" else repr(str(token.value)[:30])
        return Complaint(token.at, f"{shown} stands where {wanted} should", f"write {wanted} here")

    def _expression(self) -> Node:
        self._open += 1
        if self._open > MOST_DEPTH:
            raise _too_deep(self._now.at)
        node = self._any_of()
        if self._is("?"):
            at = self._take().at
            yes = self._any_of()
            self._need(":")
            node = _shallow(Choice(at, node, yes, self._expression()))
        self._open -= 1
        return node

    def _any_of(self) -> Node:
        return self._chain("||", lambda: self._chain("&&", self._relation))

    def _chain(self, sign: str, inner: Callable[[], Node]) -> Node:
        at = self._now.at
        operands = [inner()]
        while self._is(sign):
            self._take()
            operands.append(inner())
        if len(operands) == 1:
            return operands[0]
        if len(operands) > MOST_PARTS:
            raise Complaint(at, f"more than {MOST_PARTS} operands of {sign}", "use `in` with a list")
        return _shallow(Chain(at, sign, tuple(operands)))

    def _relation(self) -> Node:
        left = self._sum()
        while self._is(*_COMPARED, "in"):
            sign = self._take()
            left = _shallow(Binary(sign.at, str(sign.value), left, self._sum()))
        return left

    def _sum(self) -> Node:
        left = self._product()
        while self._is("+", "-"):
            sign = self._take()
            left = _shallow(Binary(sign.at, str(sign.value), left, self._product()))
        return left

    def _product(self) -> Node:
        left = self._unary()
        while self._is("*", "/", "%"):
            sign = self._take()
            left = _shallow(Binary(sign.at, str(sign.value), left, self._unary()))
        return left

    def _unary(self) -> Node:
        if not self._is("!", "-"):
            return self._member()
        sign = self._take()
        self._open += 1
        if self._open > MOST_DEPTH:
            raise _too_deep(sign.at)
        operand = self._unary()
        self._open -= 1
        return _shallow(Unary(sign.at, str(sign.value), operand))

    def _member(self) -> Node:
        node = self._primary()
        while self._is(".", "["):
            if self._is("["):
                raise Complaint(
                    self._now.at,
                    "policies don't take items out of lists by number",
                    "ask with `in`, exists(…) or all(…)",
                )
            self._take()
            word = self._word()
            if self._is("("):
                node = self._method(node, word)
            elif isinstance(node, Name):
                node = Name(node.at, f"{node.path}.{word.value}")
            else:
                raise Complaint(word.at, "only variables have fields", "name the variable itself")
        return node

    def _method(self, receiver: Node, word: Token) -> Node:
        if word.value in _LOOPS:
            return self._loop(receiver, word)
        return _shallow(Call(word.at, str(word.value), (receiver, *self._arguments()), True))

    def _loop(self, items: Node, word: Token) -> Node:
        self._need("(")
        item = self._word()
        if not self._is(","):
            fix = f"write items.{word.value}(item, condition)"
            raise Complaint(self._now.at, f"{word.value} needs a name and a condition", fix)
        self._take()
        body = self._expression()
        self._need(")")
        return _shallow(Loop(word.at, cast(LoopKind, word.value), items, str(item.value), body))

    def _arguments(self) -> tuple[Node, ...]:
        self._need("(")
        return self._until(")")

    def _until(self, closing: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._is(closing):
            if found:
                self._need(",")
            if len(found) >= MOST_PARTS:
                raise Complaint(self._now.at, f"more than {MOST_PARTS} items", "shorten the list")
            found.append(self._expression())
        self._take()
        return tuple(found)

    def _word(self) -> Token:
        if self._now.kind != "name" or self._now.value in _RESERVED:
            raise self._unexpected("a name")
        return self._take()

    def _primary(self) -> Node:
        token = self._now
        if token.kind in {"int", "double", "string"}:
            self._take()
            return Constant(token.at, token.value)
        if self._is("("):
            self._take()
            node = self._expression()
            self._need(")")
            return node
        if self._is("["):
            self._take()
            return _shallow(ListOf(token.at, self._until("]")))
        if self._is("true", "false"):
            self._take()
            return Constant(token.at, token.value == "true")
        if self._is("{", "null"):
            raise Complaint(
                token.at,
                "policies know neither maps nor null",
                "every variable is always there; use a list with `in`",
            )
        word = self._word()
        if self._is("("):
            return _shallow(Call(word.at, str(word.value), self._arguments(), False))
        return Name(word.at, str(word.value))


def _shallow(node: Node) -> Node:
    if node.depth > MOST_DEPTH:
        raise _too_deep(node.at)
    return node


def _too_deep(at: int) -> Complaint:
    return Complaint(
        at, f"the expression is nested more than {MOST_DEPTH} deep", "make several policies of it"
    )
