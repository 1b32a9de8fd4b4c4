"""The state machine: every walk ends in one terminal state, and no further."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.runs.states import OPEN, TERMINAL, RunState, advance, may_follow

states = st.sampled_from(list(RunState))


def test_what_is_terminal() -> None:
    assert {str(state) for state in TERMINAL} == {"succeeded", "failed", "cancelled", "timed_out", "refused"}
    assert all(state.terminal == (state in TERMINAL) for state in RunState)


@given(st.lists(states, max_size=30))
def test_a_walk_ends_at_most_once(wishes: list[RunState]) -> None:
    state, ends = RunState.QUEUED, 0
    for wish in wishes:
        if may_follow(state, wish):
            state = advance(state, wish)
            ends += state.terminal
        else:
            with pytest.raises(AssertionError):
                advance(state, wish)
    assert ends <= 1 and (ends == 1) == state.terminal


@given(states)
def test_an_end_can_be_reached_from_every_open_state(state: RunState) -> None:
    reached, frontier = {state}, {state}
    while frontier:
        frontier = {after for before in frontier for after in RunState if may_follow(before, after)} - reached
        reached |= frontier
    assert bool(reached & TERMINAL)


def test_only_a_run_that_ran_succeeds_and_none_is_refused_after_it_ran() -> None:
    before = {s: {b for b in RunState if may_follow(b, s)} for s in RunState}
    assert before[RunState.SUCCEEDED] == {RunState.RUNNING} == before[RunState.TIMED_OUT]
    assert RunState.RUNNING not in before[RunState.REFUSED]
    assert before[RunState.CANCELLED] == OPEN == before[RunState.FAILED]
