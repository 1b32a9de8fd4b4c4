"""How the sayings of several policies make one verdict, and that nothing but denying denies."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.governance.policy import (
    ALLOWED,
    Decision,
    Facts,
    Held,
    Mode,
    Policy,
    PolicyDenied,
    PolicyFailed,
    PolicySet,
    Said,
    combine,
    refusal,
)
from insula.governance.policy.policies import MOST_PER_LEVEL
from insula.kernel.errors import InvalidRequest, Overloaded

LANE = st.sampled_from(["interactive", "batch"])
DECISION = st.one_of(
    st.just(Decision("allow")),
    st.just(Decision("deny", "no")),
    st.just(Decision("error", "broke")),
    st.integers(1, 1000).map(lambda n: Decision("limit", limit=n)),
    LANE.map(lambda lane: Decision("lane", lane=lane)),
)
SAYINGS = st.lists(DECISION.map(lambda decision: Said("*", "p", decision)), max_size=6)


@given(SAYINGS, DECISION, st.integers(0, 6), LANE)
def test_one_more_policy_never_allows_what_was_denied_nor_raises_a_limit(
    sayings: list[Said], more: Decision, at: int, asked: str
) -> None:
    before = combine(sayings, asked)
    after = combine([*sayings[:at], Said("t", "new", more), *sayings[at:]], asked)
    if not before.allowed:
        assert not after.allowed
    elif after.allowed and before.limit is not None:
        assert after.limit is not None
        assert after.limit <= before.limit


@given(SAYINGS, LANE)
def test_the_verdict_is_that_of_the_strictest(sayings: list[Said], asked: str) -> None:
    verdict = combine(sayings, asked)
    refused = [said for said in sayings if said.decision.kind in {"deny", "error"}]
    assert verdict.denied == (refused[0] if refused else None)
    if not refused:
        limits = [said.decision.limit for said in sayings if said.decision.limit is not None]
        assert verdict.limit == min(limits, default=None)
        lanes = [said.decision.lane for said in sayings if said.decision.lane is not None]
        moves = bool(lanes) and lanes[-1] == "batch" and asked == "interactive"
        assert verdict.lane == ("batch" if moves else None)


@given(SAYINGS)
def test_no_policy_moves_a_call_from_batch_to_interactive(sayings: list[Said]) -> None:
    assert combine(sayings, "batch").lane is None


def test_the_innermost_level_that_names_a_lane_is_followed(decide: Callable[..., Any]) -> None:
    assert decide(("*", "lane('batch')")).lane == "batch"
    assert decide(("*", "lane('batch')"), ("acme/chat", "lane('interactive')")).lane is None
    assert decide(("*", "lane('interactive')"), ("acme", "lane('batch')")).lane == "batch"
    assert decide(("acme", "lane('interactive')"), lane="batch").lane is None


def test_the_least_limit_holds_whatever_its_level(decide: Callable[..., Any]) -> None:
    verdict = decide(("*", "limit(500)"), ("acme", "limit(900)"), ("acme/chat", "limit(700)"))
    assert (verdict.limit, verdict.limited.scope) == (500, "*")


def test_a_denial_is_told_with_level_policy_and_reason(decide: Callable[..., Any]) -> None:
    verdict = decide(("acme", "request.tools.exists(t, t == 'shell') ? deny('no shell') : allow()"))
    error = refusal(verdict.denied)
    assert isinstance(error, PolicyDenied)
    assert (error.code, error.status) == ("policy_denied", 403)
    assert error.details == {"rule": "policy:acme/p0", "level": "acme", "policy": "p0"}
    assert "no shell" in error.message


def test_what_cannot_be_evaluated_denies_and_says_whose_fault_it_is(decide: Callable[..., Any]) -> None:
    verdict = decide(("*", "100 / request.in_tokens > 1"), in_tokens=0)
    error = refusal(verdict.denied)
    assert isinstance(error, PolicyFailed)
    assert (error.code, error.status) == ("operator_policy_failed", 403)
    assert error.details["rule"] == "policy:platform/p0"
    assert "operator" in error.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"tools": tuple(f"t{n}" for n in range(129))},
        {"tools": ("x" * 129,)},
        {"tags": tuple(f"t{n}" for n in range(65))},
        {"model": "m" * 129},
        {"model": "\ud800"},
        {"tools": ("a", "\udfff")},
    ],
)
def test_a_call_larger_than_the_bounds_is_denied_by_what_reads_it_only(
    changes: dict[str, Any], decide: Callable[..., Any]
) -> None:
    reads = "size(request.tools) >= 0 && size(tenant.tags) >= 0 && request.model != 'x'"
    assert decide(("acme", reads), **changes).denied.decision.kind == "error"
    assert decide(("acme", "request.max_tokens > 0"), **changes) is ALLOWED


def test_usage_that_cannot_be_known_denies_what_reads_it_and_hurts_no_shadow(
    decide: Callable[..., Any],
) -> None:
    def down(_window: str) -> Any:
        raise Overloaded("the store is down")

    verdict = decide(("acme", "usage.day.usd < 100"), usage=down)
    assert verdict.denied.decision == Decision("error", "the store is down")
    assert decide(("acme", "usage.day.usd < 100", "shadow"), usage=down) is ALLOWED


def test_a_policy_that_no_longer_compiles_denies(facts: Callable[..., Facts]) -> None:
    held = PolicySet()
    held.put(Held.of(Policy("acme", "old", "request.gone == 1")))
    verdict = held.decide(("*", "acme"), facts)
    assert verdict.denied is not None
    assert verdict.denied.decision.kind == "error"
    assert "request.gone" in verdict.denied.decision.reason


def test_without_policies_nothing_is_asked() -> None:
    def asked() -> Facts:
        raise AssertionError("facts were asked for")

    held = PolicySet()
    assert held.decide(("*", "acme"), asked) is ALLOWED
    held.put(Held.of(Policy("other", "p", "false")))
    assert held.decide(("*", "acme"), asked) is ALLOWED


def test_usage_is_asked_only_for_what_is_read(facts: Callable[..., Facts]) -> None:
    asked: list[str] = []

    def usage(window: str) -> Any:
        asked.append(window)
        from insula.governance.policy import Spent

        return Spent(1, 2_500_000_000, 3)

    held = PolicySet()
    held.put(Held.of(Policy("acme", "p", "usage.day.usd > 2.4 && usage.day.usd < 2.6")))
    assert held.decide(("acme",), lambda: facts(usage=usage)).allowed
    assert asked == ["day"]


def test_a_change_holds_from_the_next_call(facts: Callable[..., Facts]) -> None:
    held = PolicySet()
    levels = ("*", "acme")
    assert held.decide(levels, facts).allowed
    held.put(Held.of(Policy("acme", "p", "false")))
    assert not held.decide(levels, facts).allowed
    held.put(Held.of(Policy("acme", "p", "true")))
    assert held.decide(levels, facts).allowed
    held.put(Held.of(Policy("*", "q", "false")))
    assert not held.decide(levels, facts).allowed
    held.remove("*", "q")
    assert held.decide(levels, facts).allowed


def test_a_level_holds_a_bounded_number_of_policies() -> None:
    held = PolicySet()
    for number in range(MOST_PER_LEVEL):
        held.put(Held.of(Policy("acme", f"p{number}", "true")))
    held.put(Held.of(Policy("acme", "p0", "false")))
    with pytest.raises(InvalidRequest) as caught:
        held.put(Held.of(Policy("acme", "more", "true")))
    assert caught.value.hint


@pytest.mark.parametrize(
    "expression", ["false", "deny('x')", "limit(1)", "lane('batch')", "1 / (request.in_tokens - 100) > 0"]
)
def test_a_policy_in_shadow_is_recorded_and_never_obeyed(
    expression: str, facts: Callable[..., Facts]
) -> None:
    held = PolicySet()
    held.put(Held.of(Policy("acme", "try", expression, Mode.SHADOW)))
    assert held.decide(("*", "acme"), facts) is ALLOWED
    found = held.get("acme", "try")
    assert found is not None
    (would_be,) = found.tally.newest()
    assert (would_be.at, would_be.request_id, would_be.tenant) == (1_790_000_000.0, "req_1", "acme")
    assert would_be.decision.kind != "allow"
    assert found.tally.counts[would_be.decision.kind] == 1


@given(SAYINGS.map(len))
def test_shadows_change_no_verdict(number: int) -> None:
    plain, shadowed = PolicySet(), PolicySet()
    for held in (plain, shadowed):
        held.put(Held.of(Policy("*", "rule", "request.max_tokens > 100 ? limit(100) : true")))
    for at in range(number):
        shadowed.put(Held.of(Policy("*", f"s{at}", "deny('x')", Mode.SHADOW)))
    call = Facts("acme", "pro", 0.0, max_tokens=200)
    assert plain.decide(("*",), lambda: call) == shadowed.decide(("*",), lambda: call)


def test_a_bounded_number_of_would_be_decisions_is_remembered(facts: Callable[..., Facts]) -> None:
    held = PolicySet()
    held.put(Held.of(Policy("acme", "try", "false", Mode.SHADOW)))
    for number in range(250):
        held.decide(("acme",), lambda number=number: facts(request_id=f"r{number}"))
    found = held.get("acme", "try")
    assert found is not None
    newest = list(found.tally.newest())
    assert len(newest) == 200
    assert newest[0].request_id == "r249"
    assert found.tally.counts["deny"] == 250
