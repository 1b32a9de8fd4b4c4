"""``insula sim`` from outside: figures, exit codes, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from insula.cli.main import run
from insula.governance.fairness.race import Race


def sim(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["sim", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_json_has_its_documented_shape(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = sim(capsys, "--trace", "arena", "--seed", "1", "--policy", "wfq+drf", "--json")
    report: dict[str, Any] = json.loads(out)
    assert code == 0
    assert report["overshoot"] == 0 and report["violations"] == [] and 0 < report["bound_ratio"] <= 1
    assert report["trace"]["name"] == "arena" and report["seed"] == 1
    (policy,) = report["policies"]
    assert set(policy["waiting_s"]["small"]) == {"runs", "p50", "p95", "max"}
    assert set(policy["gap"]) == {"unit", "worst", "bound", "ratio"}


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = sim(capsys, "--trace", "agents", "--tenants", "5", "--slots", "2", "--hours", "0.1")
    assert code == 0
    assert [row.split("\t")[0] for row in out.splitlines()] == ["fifo", "rpm", "wfq", "wfq+drf"]
    assert "all held" in err


def test_a_promise_that_does_not_hold_makes_the_command_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Race, "lift", lambda self, member: None)
    code, _, err = sim(capsys, "--trace", "arena", "--policy", "wfq", "--known")
    assert code == 3
    assert "NOT HELD" in err and "Q1" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--policy", "wfc"], "did you mean wfq"),
        (["--trace", "arena", "--tenants", "3"], "leave --tenants out"),
        (["--slots", "0"], "slots"),
        (["--hours", "1000"], "hours"),
    ],
)
def test_what_is_malformed_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    code, _, err = sim(capsys, *words)
    assert code == 2
    assert said in err


def test_a_missing_trace(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = sim(capsys, "--trace", "nowhere.csv")
    assert code == 1
    assert "nowhere.csv" in err
