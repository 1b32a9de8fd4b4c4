"""Expressions that are refused when they are saved: each with the place, the problem and the fix."""

import pytest

from insula.governance.policy import compile_expression
from insula.kernel.errors import InvalidRequest

BAD = [
    # malformed
    ("", 1, "no expression", "write one"),
    ("   \n ", 1, "no expression", "write one"),
    ("request.max_tokens >", 21, "the end stands where", "a name"),
    ("(true", 6, "the end stands where ')'", "')'"),
    ("true)", 5, "stands where", "the end"),
    ("true true", 6, "stands where", "operator"),
    ("a b", 3, "stands where", "operator"),
    ("true ? true", 12, "':'", "':'"),
    ('tenant.id == "acme', 14, "not closed", "same quote"),
    ("tenant.id == 'a\nb'", 14, "not closed", "same line"),
    ("tenant.id = 'a'", 11, "no part", "=="),
    ("true and false", 6, "stands where", "operator"),
    ("true & false", 6, "no part", "&&"),
    ("@", 1, "no part", "quotes"),
    ("request.max_tokens < 5u", 22, "no kind of value", "7"),
    ("tenant.id == b'x'", 14, "no kind of value", "simple quotes"),
    ("tenant.id == '''x'''", 14, "no kind of value", "simple quotes"),
    (r"tenant.id == '\q'", 15, "means nothing", "backslash"),
    (r"tenant.id == '\ud800'", 15, "no character", "code point"),
    ("request.max_tokens < 99999999999999999999999", 22, "too large", "most is"),
    ("request.max_tokens < 9223372036854775808", 22, "too large", "most is"),
    ("request.est_usd < 1e999", 19, "too large", "finite"),
    # unknown names
    ("request.modle == 'x'", 1, "no field request.modle", "did you mean request.model?"),
    ("request == 'x'", 1, "not a value of its own", "model, lane"),
    ("usage.day == 1", 1, "not a value of its own", "quota, usd, requests"),
    ("usage.week.usd > 1", 1, "no field usage.week.usd", "usage."),
    ("model == 'x'", 1, "no variable model", "variables are"),
    ("user.id == 'x'", 1, "no variable user.id", ""),
    ("now.year > 1", 1, "now has no fields", "now alone"),
    ("tenant.id.name == 'x'", 1, "no field tenant.id.name", ""),
    ("denny('x')", 1, "no function denny", "did you mean deny?"),
    ("has(request.model)", 1, "no function has", "functions are"),
    ("tenant.id.lower() == 'x'", 11, "no function lower", ""),
    ("('a' + 'b').x", 13, "only variables have fields", "variable"),
    # types
    ("1", 1, "is an int, not a decision", "deny("),
    ("tenant.id", 1, "is a string, not a decision", "true"),
    ("request.tools", 1, "is a list of strings, not a decision", "true"),
    ("request.max_tokens ? true : false", 1, "the condition is an int, not a bool", "x > 0"),
    ("allow() ? true : false", 1, "the condition is a decision", ""),
    ("true ? 1 : 'a'", 6, "one side of the choice is an int, the other a string", "one type"),
    ("true ? deny('x') : 1", 6, "one side of the choice", "one type"),
    ("request.max_tokens == '5'", 20, "between an int and a string", "without quotes"),
    ("tenant.tier < 3", 13, "between a string and an int", "without quotes"),
    ("tenant.tags < tenant.tags", 13, "between a list", "compare numbers"),
    ("true < false", 6, "between a bool", "compare numbers"),
    ("request.max_tokens * 0.5 > 1.0", 20, "between an int and a double", "double(x)"),
    ("1.5 % 1.0 > 0.0", 5, "% is not defined for a double", "numbers"),
    ("'a' - 'b' == 'c'", 5, "- is not defined for a string", "numbers"),
    ("true + true == true", 6, "+ is not defined", "numbers"),
    ("request.max_tokens / 0 > 1", 22, "divides by zero", "something else"),
    ("request.max_tokens && true", 1, "an operand of && is an int", "x > 0"),
    ("!request.max_tokens", 2, "the operand of ! is an int", "x > 0"),
    ("-tenant.id == 'x'", 2, "the operand of - is a string", "number"),
    ("now + 5 > now", 5, "between a timestamp and an int", ""),
    ("1 in tenant.tags", 3, "an int is never in", "like with like"),
    ("'a' in tenant.id", 5, "looks into a list", "in ["),
    ("tenant.id in ['a', 1]", 20, "a list of string holds an int", "same type"),
    ("tenant.id in []", 14, "empty list", "put something"),
    ("[allow()] == [allow()]", 2, "cannot hold", "numbers or strings"),
    ("allow() == allow()", 9, "a decision cannot stand", "? and :"),
    ("deny('x') && true", 1, "is a decision, not a bool", ""),
    ("deny()", 1, "deny does not take nothing", 'deny("why")'),
    ("deny(1)", 1, "deny does not take int", 'deny("why")'),
    ("deny('a', 'b')", 1, "deny does not take string, string", 'deny("why")'),
    ("limit('a')", 1, "limit does not take string", "limit(4000)"),
    ("limit(0)", 7, "lets nothing through", "deny"),
    ("lane('fast')", 6, "no lane 'fast'", "interactive or batch"),
    ("lane('bacth')", 6, "no lane 'bacth'", "did you mean batch?"),
    ("lane(tenant.id)", 6, "a text written out", 'lane("batch")'),
    ("startsWith(tenant.id, 'a')", 1, "called differently", ".startsWith("),
    ("'x'.deny()", 5, "called differently", "deny("),
    ("tenant.id.startsWith(1)", 11, "does not take string, int", ".startsWith("),
    ("size(tenant.id) > 3", 1, "size does not take string", "size(request.tools)"),
    ("tenant.id.matches('[')", 19, "malformed", "correct"),
    (r"tenant.id.matches('\\w+')", 19, "may not hold", "[a-z0-9_]"),
    ("tenant.id.matches('a{9}')", 19, "may not hold {", "repeat"),
    ("tenant.id.matches('(?i)a')", 19, "may not hold (?", "spell"),
    ("tenant.id.matches('é')", 19, "may not hold", ""),
    ("tenant.id.matches('" + "a" * 65 + "')", 19, "longer than 64", "shorten"),
    ("tenant.id.matches(tenant.tier)", 19, "a text written out", "matches("),
    ("now > timestamp('tomorrow')", 17, "is not a time", "2026"),
    ("now > timestamp('2026-02-30T00:00:00Z')", 17, "is not a time", "2026"),
    ("now - now > duration('1 hour')", 22, "is not a duration", "1h30m"),
    ("now - now > duration('')", 22, "is not a duration", "1h30m"),
    ("tenant.id.all(t, true)", 11, "goes over a list", "request.tools"),
    ("request.tools.all(t, t)", 22, "is a string, not a bool", "x > 0"),
    ("request.tools.all(t, t.x == 'a')", 22, "t has no fields", "t alone"),
    ("request.tools.all(request, true)", 15, "the name request is taken", "something else"),
    ("request.tools.all(t, request.tools.all(t, true))", 36, "is taken", "something else"),
    ("request.tools.all('t', true)", 19, "a name", "a name"),
    ("request.tools.all(true)", 19, "stands where", "a name"),
    ("request.tools.all(t)", 20, "needs a name and a condition", "(item, condition)"),
    ("request.tools.map(t, t) == ['a']", 15, "no function map", ""),
    ("request.tools[0] == 'a'", 14, "by number", "exists"),
    ("request['model'] == 'a'", 8, "by number", "exists"),
    ("{'a': 1}.a == 1", 1, "neither maps nor null", "list"),
    ("tenant.id == null", 14, "neither maps nor null", "always there"),
    ("t in request.tools", 1, "no variable t", ""),
    ("true ? true : false ? 1 : 2", 6, "one side of the choice is a bool, the other an int", ""),
]


@pytest.mark.parametrize(("source", "column", "problem", "fix"), BAD, ids=[repr(row[0])[:40] for row in BAD])
def test_a_bad_expression_is_refused_with_place_and_fix(
    source: str, column: int, problem: str, fix: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        compile_expression(source)
    error = caught.value
    assert problem in error.message
    assert fix in error.hint
    assert error.hint
    assert error.field == "expression"
    assert error.details["column"] == column, error.message
    assert error.message.startswith(f"line {error.details['line']}, column {column}: ")


def test_lines_are_counted() -> None:
    with pytest.raises(InvalidRequest, match=r"line 3, column 5: there is no field request\.modle"):
        compile_expression("// which model\ntrue &&\n    request.modle == 'x'")


@pytest.mark.parametrize("source", [None, 5, True, b"true", ["true"]])
def test_only_text_is_an_expression(source: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        compile_expression(source)
    assert caught.value.field == "expression"


HOSTILE = {
    "long": "true || " * 600 + "true",
    "wide": " || ".join(["true"] * 101),
    "long list": "1 in [" + ",".join(["1"] * 101) + "]",
    "deep": "(" * 33 + "true" + ")" * 33,
    "very deep": "(" * 2_000 + "true" + ")" * 2_000,
    "unary": "!" * 40 + "true",
    "many unary": "!" * 4_000 + "true",
    "choices": "true ? true : " * 40 + "true",
    "sums": "1" + " + 1" * 40 + " > 0",
    "calls": "string(" * 40 + "1" + ")" * 40 + " == 'a'",
    "loop in loop": "request.tools.all(a, request.tools.all(b, a != b))",
    "loop thrice": "tenant.tags.all(a, tenant.tags.all(b, tenant.tags.all(c, a != b && b != c)))",
    "in inside a loop": "request.tools.all(a, request.tools.exists(b, b in tenant.tags))",
    "loops beside each other": " && ".join(["request.tools.all(a, a != 'x' && a != 'y')"] * 12),
    "patterns": " || ".join([f"request.model.matches('{'a' * 60}')"] * 20),
    "pattern in a loop": "request.tools.exists(t, t.matches('^[a-z]*$'))",
    "growing text": "deny(" + " + ".join(["'" + "x" * 2_000 + "'"] * 2) + " + tenant.id)",
    "doubling": "deny(string(1) + string(2) + " + " + ".join(["string(3)"] * 15) + ")",
    "long literal loop": "["
    + ",".join(["'a'"] * 100)
    + "].all(a, ["
    + ",".join(["'b'"] * 100)
    + "].all(b, a != b))",
}


@pytest.mark.timeout(5)
@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_what_could_run_too_long_is_refused_when_saved_and_soon(source: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        compile_expression(source)
    assert caught.value.hint
    assert caught.value.field == "expression"


@pytest.mark.parametrize(
    "source",
    [
        "request.tools.all(t, t in ['search', 'fetch', 'read'])",
        "request.tools.exists(t, t.startsWith('shell'))",
        "tenant.tags.exists(t, t == 'trial') && request.tools.all(t, t != 'shell')",
        "request.model.matches('^gpt-[45]') && !request.model.matches('mini$')",
        " || ".join([f"tenant.id == 't{n}'" for n in range(100)]),
    ],
)
def test_what_an_operator_would_write_is_within_the_bounds(source: str) -> None:
    assert compile_expression(source).cost > 0
