"""What an accepted expression means: as CEL has it, and never a failure over a type."""

from collections.abc import Callable
from typing import Any

import cel
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from insula.governance.policy import Compiled, Facts, compile_expression
from insula.governance.policy.checker import check
from insula.governance.policy.engine import bound
from insula.governance.policy.facts import read
from insula.governance.policy.language import VARIABLES
from insula.governance.policy.lowering import flat
from insula.governance.policy.parser import parse
from insula.kernel.errors import InvalidRequest

CALL = Facts(
    tenant="acme",
    tier="pro",
    now=1_790_000_000.0,
    tags=("trial", "eu"),
    model="claude-opus-5",
    in_tokens=7,
    max_tokens=2_000,
    est_quota=20_100,
    est_nanousd=50_000_000,
    tools=("search", "shell"),
)


def nested(facts: Facts) -> dict[str, Any]:
    """Return the facts as a CEL program would usually be given them."""
    found: dict[str, Any] = {}
    for path in VARIABLES:
        *groups, name = path.split(".")
        here = found
        for group in groups:
            here = here.setdefault(group, {})
        here[name] = read(path, facts)
    return found


VALUES = {flat(path): read(path, CALL) for path in VARIABLES}
NESTED = cel.Context(nested(CALL))

NUMBER = st.sampled_from(
    ["0", "3", "2000", "request.max_tokens", "request.in_tokens", "usage.day.requests", "agent.depth"]
)
TEXT = st.sampled_from(
    ["'claude'", "request.model", "tenant.id", '"a\\"b"', "r'a\\b'", "string(request.in_tokens)"]
)


def _ints(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, st.sampled_from("+-*/%"), inner)
    return (
        pair.map(lambda parts: f"{parts[0]} {parts[1]} {parts[2]}")
        | inner.map(lambda text: f"({text})")
        | inner.map(lambda text: f"-({text})")
    )


INTS = st.recursive(NUMBER, _ints, max_leaves=6)
TEXTS = st.recursive(TEXT, lambda inner: st.tuples(inner, inner).map(" + ".join), max_leaves=3)
COMPARED = st.one_of(
    st.tuples(INTS, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), INTS).map(" ".join),
    st.tuples(TEXTS, st.sampled_from(["==", "!=", "<", ">"]), TEXTS).map(" ".join),
    st.tuples(TEXT, st.sampled_from(["startsWith", "endsWith", "contains"]), TEXT).map(
        lambda parts: f"{parts[0]}.{parts[1]}({parts[2]})"
    ),
    TEXT.map(lambda text: f"{text} in tenant.tags"),
    st.tuples(st.sampled_from(["all", "exists", "exists_one"]), TEXT).map(
        lambda parts: f"request.tools.{parts[0]}(t, t == {parts[1]} || t.startsWith('s'))"
    ),
    st.sampled_from(["true", "false", "usage.day.usd > 1", "request.est_usd <= 0.05", "now.getHours() > 5"]),
)


def _bools(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return (
        st.tuples(inner, st.sampled_from([" && ", " || "]), inner).map(lambda p: p[0] + p[1] + p[2])
        | inner.map(lambda text: f"!({text})")
        | st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} ? {p[1]} : {p[2]})")
        | inner.map(lambda text: f"({text})")
    )


BOOLS = st.recursive(COMPARED, _bools, max_leaves=8)


def accepted(source: str) -> Compiled:
    """Compile an expression that is right by its types; what the other bounds refuse is left out."""
    try:
        return compile_expression(source)
    except InvalidRequest as error:
        assert "steps" in error.message or "divides by zero" in error.message, (source, error.message)
        assume(False)
        raise


@settings(max_examples=150, deadline=None)
@given(BOOLS)
def test_an_expression_means_what_the_library_says_it_means(source: str) -> None:
    """Written out again with flat names it has the value that the library gives the original text."""
    try:
        expected: object = cel.compile(source).execute(NESTED)
    except (ZeroDivisionError, OverflowError):
        expected = "error"
    decision = accepted(source).ask(bound(VALUES))
    assert decision.kind == {True: "allow", False: "deny", "error": "error"}[expected], source


@settings(max_examples=120, deadline=None)
@given(BOOLS, st.integers(1, 10**6))
def test_what_was_accepted_fails_only_over_arithmetic(source: str, limit: int) -> None:
    decision = accepted(f"{source} ? limit({limit}) : deny('no: ' + tenant.id)").ask(bound(VALUES))
    if decision.kind == "error":
        known = ("division by zero", "modulo by zero", "verflow")
        assert any(word in decision.reason for word in known), (source, decision)
    else:
        assert decision.kind in {"limit", "deny"}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="tenat.id()?:&|<>=!'\"[]{}0123,+- \n", max_size=60))
def test_any_text_is_read_or_refused_and_nothing_else(source: str) -> None:
    try:
        compile_expression(source)
    except InvalidRequest as error:
        assert error.hint


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("allow()", "allow"),
        ("true", "allow"),
        ("false", "deny"),
        ("deny('no')", "deny"),
        ("limit(5)", "limit"),
        ("lane('batch')", "lane"),
        ("request.max_tokens > 1000 ? limit(1000) : true", "limit"),
        ("request.max_tokens > 9000 ? limit(1000) : request.in_tokens < 100", "allow"),
        ("true || 1 / (request.in_tokens - 7) > 0", "allow"),
        ("1 / (request.in_tokens - 7) > 0", "error"),
        ("request.max_tokens * 9223372036854775807 > 0", "error"),
        ("int(request.model) > 0", "error"),
        ("limit(request.in_tokens - 7)", "error"),
        ("limit(request.in_tokens - 100)", "error"),
        ("limit(int(double(request.max_tokens) * 0.5))", "limit"),
        ("now > timestamp('2026-01-01T00:00:00Z') && now - now < duration('1h30m')", "allow"),
        ("now.getFullYear() == 2026 && now.getMonth() == 8 && now.getDate() == 21", "allow"),
        ("now.getDayOfWeek() == 1 && now.getHours() == 14 && now.getMinutes() == 13", "allow"),
        ("request.model.matches('^claude-(opus|sonnet)-')", "allow"),
        ("size(request.tools) == 2 && tenant.tags.size() == 2", "allow"),
        ("request.tools == ['search', 'shell']", "allow"),
        ("'\\u00e9\\U0001f600\\n' == 'é😀\\x0a'", "allow"),
        ("0x10 == 16 && 1.5e3 == 1500 && .5 < 1", "allow"),
        ("-9223372036854775807 < -request.in_tokens", "allow"),
    ],
)
def test_results_by_example(source: str, kind: str) -> None:
    assert compile_expression(source).ask(bound(VALUES)).kind == kind


def test_only_variables_that_are_read_are_asked_for() -> None:
    assert check(parse("request.tools.all(t, t != tenant.id) || usage.day.usd > 1")) == {
        "request.tools",
        "tenant.id",
        "usage.day.usd",
    }


def test_a_reason_is_given_and_kept_short(decide: Callable[..., Any]) -> None:
    verdict = decide(("acme", "deny('tier ' + tenant.tier + ' may not: " + "x" * 400 + "')"))
    reason = verdict.denied.decision.reason
    assert reason.startswith("tier pro may not: x")
    assert len(reason) == 300
