"""Verdicts, bounds, keys, resumption: the pure decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.governance.fairness import Lane
from insula.kernel.errors import ConflictError
from insula.kernel.ids import AgentName, RunId, TenantId
from insula.runs.bounds import effective_timeout, narrowed
from insula.runs.idempotency import key_hash, request_digest, same_request
from insula.runs.record import RunRecord
from insula.runs.resume import ATTEMPTS_MAX, resume
from insula.runs.states import OPEN, RunState, may_follow
from insula.runs.verdict import Cause, Ending, Verdict, judge, said_of
from insula.tenancy import SandboxBounds

TIER = SandboxBounds(512, 64, 0.5, 128, 8192, 4096, 300)
reasons = st.sampled_from(
    ["exited", "oom", "output_limit", "timed_out", "lost", "failed_to_start", "cancelled", "?"]
)
endings = st.builds(Ending, st.none() | st.integers(0, 255), st.none() | st.integers(1, 64), reasons)
limits = st.fixed_dictionaries(
    {},
    optional={
        "memory_mib": st.integers(16, 10_000),
        "pids": st.integers(4, 1000),
        "cpu": st.floats(0.01, 64),
        "workspace_mib": st.integers(1, 10_000),
        "timeout_s": st.floats(0.1, 10_000),
    },
)


@given(endings, st.none() | st.sampled_from([Cause.CANCELLED, Cause.TIMED_OUT, Cause.TENANT_SUSPENDED]))
def test_every_ending_has_one_verdict_with_words(ending: Ending, stop: Cause | None) -> None:
    verdict = judge(ending, stop, TIER, 3)
    assert verdict.state.terminal and verdict.state is not RunState.REFUSED and verdict.reason
    succeeded = verdict.state is RunState.SUCCEEDED
    assert not succeeded or (ending.code == 0 and ending.reason not in {"oom", "lost", "output_limit"})
    assert verdict.state is RunState.SUCCEEDED or verdict.hint or stop is not None


@pytest.mark.parametrize(
    ("ending", "cause", "said"),
    [
        (Ending(0, None, "exited"), Cause.COMPLETED, "finished"),
        (Ending(7, None, "exited"), Cause.EXIT_STATUS, "status 7"),
        (Ending(None, 9, "exited"), Cause.SIGNALLED, "SIGKILL"),
        (Ending(139, None, "exited"), Cause.SIGNALLED, "SIGSEGV"),
        (Ending(None, 9, "oom"), Cause.OUT_OF_MEMORY, "512 MiB"),
        (Ending(None, 9, "output_limit"), Cause.OUTPUT_LIMIT, "4096 bytes"),
        (Ending(None, None, "failed_to_start"), Cause.START_FAILED, "could not start"),
    ],
)
def test_the_words_name_the_limit(ending: Ending, cause: Cause, said: str) -> None:
    verdict = judge(ending, None, TIER, 3)
    assert verdict.cause is cause and said in verdict.reason


def test_an_exit_that_won_the_race_against_a_stop_is_told_as_it_was() -> None:
    assert judge(Ending(0, None, "exited"), Cause.CANCELLED, TIER, 3).state is RunState.SUCCEEDED
    assert judge(Ending(None, 9, "cancelled"), Cause.CANCELLED, TIER, 3).state is RunState.CANCELLED


@given(st.sampled_from(sorted(OPEN)), st.sampled_from([s for s in RunState if s.terminal]))
def test_a_verdict_fits_whatever_it_ends(before: RunState, end: RunState) -> None:
    verdict = Verdict(end, Cause.RUNTIME_UNKNOWN, "gone").fit(before)
    assert may_follow(before, verdict.state) and verdict.reason == "gone"


def test_every_cause_has_words() -> None:
    assert all(said_of(cause) for cause in Cause)


@given(limits, st.none() | st.floats(0.1, 10_000))
def test_nothing_widens_the_tier(given_limits: dict[str, float], asked: float | None) -> None:
    timeout = effective_timeout(TIER, given_limits, asked)
    bounds = narrowed(TIER, given_limits, timeout)
    for name in ("memory_mib", "pids", "cpu_fraction", "workspace_mib", "output_bytes", "wall_s"):
        assert 0 < getattr(bounds, name) <= getattr(TIER, name)
    offers = [asked, given_limits.get("timeout_s"), TIER.wall_s]
    assert timeout.seconds == min(offer for offer in offers if offer is not None)
    assert bounds.wall_s >= min(timeout.seconds, TIER.wall_s)


@given(st.text(min_size=1), st.text(min_size=1))
def test_keys_of_two_tenants_never_meet(one: str, other: str) -> None:
    a, b = TenantId("a"), TenantId("b")
    assert key_hash(a, one) != key_hash(b, other)
    assert (key_hash(a, one) == key_hash(a, other)) == (one == other)


@given(
    st.binary(max_size=20), st.binary(max_size=20), st.none() | st.floats(1, 9), st.none() | st.floats(1, 9)
)
def test_a_key_is_bound_to_what_was_asked(x: bytes, y: bytes, t: float | None, u: float | None) -> None:
    agent = AgentName("hello")
    stored, asked = request_digest(agent, x, t), request_digest(agent, y, u)
    if (x, t) == (y, u):
        same_request(stored, asked)
    else:
        with pytest.raises(ConflictError):
            same_request(stored, asked)
    assert request_digest(agent, x, t, Lane.BATCH) != stored


@given(st.sampled_from(sorted(OPEN)), st.integers(0, 6), st.booleans(), st.sampled_from(["restart", "fail"]))
def test_resumption(state: RunState, attempt: int, cancel: bool, recovery: str) -> None:
    record = RunRecord(
        RunId("run"), AgentName("a"), "b", "r", None, 0.0, state, attempt=attempt, cancel_requested=cancel
    )
    verdict = resume(record, recovery)
    begun = state is not RunState.QUEUED
    if cancel:
        assert verdict is not None and verdict.state is RunState.CANCELLED
    elif begun and (recovery == "fail" or attempt >= ATTEMPTS_MAX):
        assert verdict is not None and verdict.cause is Cause.INTERRUPTED
    else:
        assert verdict is None
