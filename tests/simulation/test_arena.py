"""The public 27-client workload: the figures that the specification asks for, and the same ones each time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from insula.simulation.compare import compare


@pytest.fixture(scope="module")
def arena() -> dict[str, Any]:
    return compare("arena", 1).report


def policy(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in report["policies"] if one["policy"] == name)


def test_small_tenants_wait_at_most_8_percent_of_what_they_wait_in_a_line(arena: dict[str, Any]) -> None:
    line = policy(arena, "fifo")["waiting_s"]["small"]["p95"]
    assert line == pytest.approx(341.6, abs=0.1)
    for name in ("wfq", "wfq+drf"):
        assert policy(arena, name)["waiting_s"]["small"]["p95"] <= 0.08 * line


def test_fairness_costs_no_capacity(arena: dict[str, Any]) -> None:
    line = policy(arena, "fifo")["utilisation"]
    assert policy(arena, "wfq")["utilisation"] >= 0.95 * line
    assert policy(arena, "wfq+drf")["utilisation"] >= 0.95 * line
    assert policy(arena, "rpm")["utilisation"] < 0.95 * line


def test_everything_promised_held_and_was_looked_at(arena: dict[str, Any]) -> None:
    assert arena["overshoot"] == 0
    assert 0 < arena["bound_ratio"] <= 1
    assert arena["violations"] == []
    for name in ("P1", "P3", "Q1", "Q2", "Q4", "D4", "M1", "M4", "C2"):
        assert policy(arena, "wfq+drf")["checks"][name] > 0
    assert policy(arena, "fifo")["gap"]["ratio"] > 1


def test_no_call_is_lost_and_every_policy_costs_the_same(arena: dict[str, Any]) -> None:
    for name in ("fifo", "wfq", "wfq+drf"):
        assert policy(arena, name)["calls"] == 1500
        assert policy(arena, name)["refusals"] == {"calls": 0, "runs": 0}
    assert len({policy(arena, name)["cost_nanousd"] for name in ("fifo", "wfq", "wfq+drf")}) == 1
    gated = policy(arena, "rpm")
    assert gated["calls"] + gated["refusals"]["calls"] == 1500


def test_with_lengths_known_the_gap_comes_near_its_bound_and_a_line_breaks_it() -> None:
    known = compare("arena", 1, policies=["fifo", "wfq+drf"], learned=False)
    assert 0.5 < known.report["bound_ratio"] <= 1
    line, fair = (outcome.gap for outcome in known.outcomes)
    assert fair.shortfall <= fair.bound()
    assert line.worst > 10 * line.bound()
    assert line.shortfall > line.bound()


def test_the_same_seed_gives_the_same_bytes() -> None:
    again = [
        json.dumps(compare("agents", seed, policies=["wfq+drf"], slots=2, tenants=8, faults=True).report)
        for seed in (5, 5, 6)
    ]
    assert again[0] == again[1] != again[2]
