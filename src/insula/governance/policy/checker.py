"""Type-checks a tree: every name known, every operation defined, the whole a decision.

Strict where CEL is dynamic, so that what was saved cannot fail over a type later: both sides of a choice,
both operands of a comparison, the items of a list are of one type.
"""

from __future__ import annotations

from collections.abc import Mapping

from insula.governance.policy.complaint import Complaint, guess
from insula.governance.policy.language import (
    BOOL,
    DECISION,
    DOUBLE,
    FUNCTIONS,
    GROUPS,
    INT,
    NUMBERS,
    STRING,
    VARIABLES,
    Function,
    item_of,
    list_of,
)
from insula.governance.policy.literals import check_literal
from insula.governance.policy.operators import a, cast, result_of
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

_CONSTANTS: dict[type, str] = {bool: BOOL, int: INT, float: DOUBLE, str: STRING}
_RESULTS = 'give true, false, allow(), deny("why"), limit(4000) or lane("batch")'


def check(tree: Node) -> frozenset[str]:
    """Return the variables that a policy reads. Raises ``Complaint`` unless it is a decision throughout."""
    checker = _Checker()
    found = checker.type_of(tree, {})
    if found not in {BOOL, DECISION}:
        raise Complaint(tree.at, f"the result is {a(found)}, not a decision", _RESULTS)
    return frozenset(checker.reads)


class _Checker:
    """``names`` are what the loops around a node call their items, with their types."""

    def __init__(self) -> None:
        self.reads: set[str] = set()

    def type_of(self, node: Node, names: Mapping[str, str]) -> str:
        match node:
            case Constant():
                return _CONSTANTS[type(node.value)]
            case Name():
                return self._name(node, names)
            case ListOf():
                return self._list(node, names)
            case Unary():
                return self._unary(node, names)
            case Chain():
                for operand in node.operands:
                    self._must_be(BOOL, operand, names, f"an operand of {node.sign}")
                return BOOL
            case Binary():
                return self._binary(node, names)
            case Choice():
                return self._choice(node, names)
            case Loop():
                return self._loop(node, names)
            case Call():
                return self._call(node, names)
        raise AssertionError(node)

    def _must_be(self, wanted: str, node: Node, names: Mapping[str, str], what: str) -> None:
        found = self.type_of(node, names)
        if found != wanted:
            raise Complaint(node.at, f"{what} is {a(found)}, not {a(wanted)}", cast(found, wanted))

    def _name(self, node: Name, names: Mapping[str, str]) -> str:
        path = node.path
        if path in names:
            return names[path]
        if path in VARIABLES:
            self.reads.add(path)
            return VARIABLES[path].type
        first = path.partition(".")[0]
        if first in names or first == "now":
            raise Complaint(node.at, f"{first} has no fields", f"write {first} alone")
        if path in GROUPS:
            fields = ", ".join(_fields(path))
            raise Complaint(node.at, f"{path} is not a value of its own", f"name one of its fields: {fields}")
        raise _unknown(node, path, first, names)

    def _list(self, node: ListOf, names: Mapping[str, str]) -> str:
        kinds = [self.type_of(item, names) for item in node.items]
        for item, kind in zip(node.items, kinds, strict=True):
            if kind == DECISION or item_of(kind) is not None:
                raise Complaint(item.at, f"a list cannot hold {a(kind)}", "list numbers or strings")
            if kind != kinds[0]:
                raise Complaint(
                    item.at, f"a list of {kinds[0]} holds {a(kind)}", "give all items the same type"
                )
        if not kinds:
            raise Complaint(node.at, "an empty list says nothing", "put something into it")
        return list_of(kinds[0])

    def _unary(self, node: Unary, names: Mapping[str, str]) -> str:
        if node.sign == "!":
            self._must_be(BOOL, node.operand, names, "the operand of !")
            return BOOL
        found = self.type_of(node.operand, names)
        if found not in NUMBERS:
            raise Complaint(node.operand.at, f"the operand of - is {a(found)}", "negate a number")
        return found

    def _choice(self, node: Choice, names: Mapping[str, str]) -> str:
        self._must_be(BOOL, node.condition, names, "the condition")
        yes, no = self.type_of(node.yes, names), self.type_of(node.no, names)
        if yes == no:
            return yes
        if {yes, no} == {BOOL, DECISION}:
            return DECISION
        raise Complaint(
            node.at, f"one side of the choice is {a(yes)}, the other {a(no)}", "give both sides one type"
        )

    def _loop(self, node: Loop, names: Mapping[str, str]) -> str:
        found = self.type_of(node.items, names)
        item = item_of(found)
        if item is None:
            raise Complaint(node.at, f"{node.kind} goes over a list, not {a(found)}", "use request.tools, …")
        if node.item in names or node.item in {*VARIABLES, *GROUPS}:
            raise Complaint(node.at, f"the name {node.item} is taken", "call the item something else")
        self._must_be(BOOL, node.body, {**names, node.item: item}, f"what {node.kind} asks of each item")
        return BOOL

    def _binary(self, node: Binary, names: Mapping[str, str]) -> str:
        left, right = self.type_of(node.left, names), self.type_of(node.right, names)
        if DECISION in {left, right}:
            raise Complaint(node.at, f"a decision cannot stand beside {node.sign}", "choose with ? and :")
        return result_of(node, left, right)

    def _call(self, node: Call, names: Mapping[str, str]) -> str:
        function = FUNCTIONS.get(node.function)
        if function is None:
            fix = guess(node.function, FUNCTIONS, f"the functions are {', '.join(FUNCTIONS)}")
            raise Complaint(node.at, f"there is no function {node.function[:40]}", fix)
        if function.method is not None and function.method != node.method:
            raise Complaint(node.at, f"{node.function} is called differently", f"write {function.usage}")
        kinds = tuple(self.type_of(argument, names) for argument in node.arguments)
        result = function.shapes.get(kinds)
        if result is None and node.function == "size" and len(kinds) == 1 and item_of(kinds[0]):
            result = INT
        if result is None:
            shown = ", ".join(kinds) or "nothing"
            raise Complaint(node.at, f"{node.function} does not take {shown}", f"write {function.usage}")
        _literals(node, function)
        return result


def _literals(node: Call, function: Function) -> None:
    if node.function == "limit" and isinstance(node.arguments[0], Constant):
        if node.arguments[0].value == 0:
            raise Complaint(node.arguments[0].at, "a limit of 0 lets nothing through", 'use deny("why")')
        return
    if function.literal is None:
        return
    argument = node.arguments[function.literal]
    if not isinstance(argument, Constant):
        raise Complaint(argument.at, f"{node.function} needs a text written out", f"write {function.usage}")
    check_literal(node.function, str(argument.value), argument.at)


def _unknown(node: Name, path: str, first: str, names: Mapping[str, str]) -> Complaint:
    known = [*VARIABLES, *names]
    if first in {group.partition(".")[0] for group in GROUPS}:
        fix = guess(path, known, f"its fields are {', '.join(_fields(first))}")
        return Complaint(node.at, f"there is no field {path[:60]}", fix)
    fix = guess(
        path, known, f"the variables are {', '.join(sorted({name.partition('.')[0] for name in known}))}"
    )
    return Complaint(node.at, f"there is no variable {path[:60]}", fix)


def _fields(group: str) -> list[str]:
    return [path.removeprefix(f"{group}.") for path in VARIABLES if path.startswith(f"{group}.")]
