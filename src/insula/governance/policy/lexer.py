"""An expression's text as tokens. The subset of CEL's lexis that policies use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from insula.governance.policy.complaint import Complaint

Kind = Literal["name", "int", "double", "string", "sign", "end"]
_MOST_INT = 2**63 - 1
_TOKEN = re.compile(
    r"""
    (?P<skip>[ \t\r\n]+|//[^\n]*)
  | (?P<odd>\d[\w.]*[uU]\b|[bB][rR]?["']|\"\"\"|''')
  | (?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<int>0[xX][0-9a-fA-F]+|\d+)
  | (?P<string>[rR]?"(?:[^"\\\n]|\\.)*"|[rR]?'(?:[^'\\\n]|\\.)*')
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\", "`": "`", "?": "?"}


@dataclass(frozen=True, slots=True)
class Token:
    """``value`` is what a literal means; of everything else, its text."""

    kind: Kind
    value: str | int | float
    at: int


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens of ``source`` and one that marks its end. Raises ``Complaint``."""
    at = 0
    while at < len(source):
        found = _TOKEN.match(source, at)
        if found is None:
            raise _unreadable(source, at)
        text = found.group()
        match found.lastgroup:
            case "name" | "sign" as kind:
                yield Token(kind, text, at)
            case "string":
                yield Token("string", _string(text, at), at)
            case "int":
                yield Token("int", _int(text, at), at)
            case "double":
                yield Token("double", _double(text, at), at)
            case "odd":
                raise Complaint(
                    at,
                    f"{text[:12]} is no kind of value that policies know",
                    "use true, 7, 0.5 or a string in simple quotes on one line",
                )
        at = found.end()
    yield Token("end", "", len(source))


def _unreadable(source: str, at: int) -> Complaint:
    if source[at] in "\"'":
        return Complaint(at, "a string is not closed", "close it with the same quote, on the same line")
    hint = "strings stand in quotes; and, or, not are written &&, ||, !; equals is =="
    return Complaint(at, f"{source[at]!r} is no part of an expression", hint)


def _int(text: str, at: int) -> int:
    if len(text) > 20:
        raise Complaint(at, "a number is too large", f"the most is {_MOST_INT}")
    value = int(text, 16) if text[:2] in {"0x", "0X"} else int(text)
    if value > _MOST_INT:
        raise Complaint(at, "a number is too large", f"the most is {_MOST_INT}")
    return value


def _double(text: str, at: int) -> float:
    value = float(text)
    if value == float("inf"):
        raise Complaint(at, "a number is too large", "give a finite number")
    return value


def _string(text: str, at: int) -> str:
    if text[0] in "rR":
        return text[2:-1]

    def meant(found: re.Match[str]) -> str:
        digits = found[1] or found[2] or found[3]
        if digits is None:
            if found[4] not in _SIMPLE:
                raise Complaint(
                    at + 1 + found.start(),
                    f"\\{found[4]} means nothing",
                    "write \\\\ for one backslash, or r'…'",
                )
            return _SIMPLE[found[4]]
        point = int(digits, 16)
        if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
            raise Complaint(at + 1 + found.start(), "this is no character", "give a Unicode code point")
        return chr(point)

    return _ESCAPE.sub(meant, text[1:-1])
