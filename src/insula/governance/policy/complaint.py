"""What is wrong with an expression, where, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from insula.kernel.errors import InvalidRequest

FIELD = "expression"


class Complaint(Exception):
    """Raised while an expression is read; ``refused`` turns it into the error that its author sees."""

    def __init__(self, at: int, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.at = at
        self.problem = problem
        self.fix = fix

    def refused(self, source: str) -> InvalidRequest:
        """Return the error, with line and column counted from 1."""
        before = source[: self.at]
        line = before.count("\n") + 1
        column = self.at - (before.rfind("\n") + 1) + 1
        return InvalidRequest(
            f"line {line}, column {column}: {self.problem}",
            hint=self.fix,
            field=FIELD,
            line=line,
            column=column,
        )


def guess(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return the nearest known word as a question, or ``otherwise``."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise
