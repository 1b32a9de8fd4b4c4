"""A policy as it is kept, and compiled for asking."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from insula.governance.policy.checker import check
from insula.governance.policy.complaint import Complaint, guess
from insula.governance.policy.cost import cost_of
from insula.governance.policy.decision import Decision, decode
from insula.governance.policy.engine import EvaluationFailed, Program, Values
from insula.governance.policy.lowering import lower
from insula.governance.policy.parser import parse
from insula.kernel.errors import InvalidRequest

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")


class Mode(StrEnum):
    ENFORCE = "enforce"
    SHADOW = "shadow"  # asked and recorded, never obeyed


@dataclass(frozen=True, slots=True)
class Policy:
    """An expression and where it holds.

    ``scope`` is a level's key: ``*``, ``tenant`` or ``tenant/app``. ``version`` counts its texts from 1.
    """

    scope: str
    name: str
    expression: str
    mode: Mode = Mode.ENFORCE
    created_at: float = 0.0
    version: int = 1


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression ready to be asked. ``reads``: its variables; ``cost``: the most it can take, in steps.

    ``lowered`` is what the library evaluates.
    """

    reads: frozenset[str]
    cost: int
    lowered: str
    program: Program

    def ask(self, values: Values) -> Decision:
        """Return the decision for values from ``engine.bound``; never raises for an expression's fault."""
        try:
            return decode(self.program.run(values))
        except EvaluationFailed as failed:
            return Decision("error", str(failed))


def compile_expression(source: object) -> Compiled:
    """Check an expression in full and compile it.

    Raises ``InvalidRequest`` (field ``expression``) with line, column, problem and fix: malformed, an unknown
    name, a type that does not fit, no decision, or a cost that could pass the bound.
    """
    if not isinstance(source, str):
        raise InvalidRequest("the expression is no text", hint="give it as a string", field="expression")
    try:
        tree = parse(source)
        reads = check(tree)
        cost = cost_of(tree)
        lowered = lower(tree)
        return Compiled(reads, cost, lowered, Program(lowered))
    except Complaint as complaint:
        raise complaint.refused(source) from None
    except EvaluationFailed as failed:
        raise InvalidRequest(
            f"line 1, column 1: the expression cannot be compiled: {failed}",
            hint="write it in a simpler way",
            field="expression",
            line=1,
            column=1,
        ) from None


def parse_mode(value: object) -> Mode:
    """Return ``value`` as a mode. Raises ``InvalidRequest``."""
    for mode in Mode:
        if value == mode.value:
            return mode
    shown = str(value)[:40]
    fix = guess(shown, [mode.value for mode in Mode], f"use {' or '.join(Mode)}")
    raise InvalidRequest(f"there is no mode {shown!r}", hint=fix, field="mode")


def parse_name(value: object) -> str:
    """Return ``value`` as a policy's name. Raises ``InvalidRequest``."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise InvalidRequest(
        f"policy name {repr(value)[:60]} is not valid",
        hint="use 1 to 48 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
        field="name",
    )
