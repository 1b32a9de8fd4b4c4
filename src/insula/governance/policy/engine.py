"""The CEL library behind an interface of ours. The only module that imports it.

Compiling and evaluating happen in Rust and hold the interpreter's lock, so nothing can interrupt them: what
goes in has a bounded cost already.
"""

from __future__ import annotations

from collections.abc import Mapping

import cel

Values = cel.Context
"""Variables, handed over to the library."""


class EvaluationFailed(Exception):
    """An expression has no result: division by zero, overflow, a number that is none."""


class Program:
    """One compiled expression. Safe to evaluate again and again."""

    __slots__ = ("_program",)

    def __init__(self, source: str) -> None:
        """Compile. Raises ``EvaluationFailed`` for text that is no CEL."""
        try:
            self._program = cel.compile(source)
        except BaseException as error:  # see _failed
            raise _failed(error) from None

    def run(self, values: Values) -> object:
        """Evaluate with values from ``bound``. Raises ``EvaluationFailed``."""
        try:
            return self._program.execute(values)
        except BaseException as error:  # see _failed
            raise _failed(error) from None


def bound(values: Mapping[str, object]) -> Values:
    """Hand variables over to the library once, for any number of programs."""
    return cel.Context(dict(values))


def _failed(error: BaseException) -> EvaluationFailed:
    """Return the failure that ``error`` is; anything that is not the library's goes on its way.

    A panic in Rust arrives as a ``BaseException`` of a class that cannot be imported.
    """
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    return EvaluationFailed(str(error).partition("\n")[0][:200] or type(error).__name__)
