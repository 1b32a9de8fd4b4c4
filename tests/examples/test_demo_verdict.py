"""The demonstration may only claim what the platform's records bear out."""

import copy
from typing import Any

import pytest

from insula.cli.demo.verdict import ATTEMPTS, Shown, as_json, judge, ok

RUN: dict[str, Any] = {
    "run": "run_1",
    "tenant": "acme",
    "backend": "bubblewrap",
    "state": "succeeded",
    "reason": None,
    "usage": {"calls": 9, "input_tokens": 40, "output_tokens": 30, "cost_usd": "0.000000000"},
    "result": {"refused": dict.fromkeys(ATTEMPTS, "no"), "breached": {}, "usage": {"input": 5, "output": 24}},
    "workspace_destroyed": True,
    "created_at": "2026-11-23T19:00:00.000Z",
    "started_at": "2026-11-23T19:00:01.000Z",
    "finished_at": "2026-11-23T19:00:03.000Z",
}
OTHER = RUN | {
    "run": "run_2",
    "started_at": "2026-11-23T19:00:02.000Z",
    "finished_at": "2026-11-23T19:00:04.000Z",
}
RECORDS = [{"details": {"rule": rule}} for rule in ("egress.denied", "model_not_entitled")]


def judged(records: list[Any] = RECORDS, other: dict[str, Any] = OTHER, **changes: Any) -> Shown:
    run = copy.deepcopy(RUN) | changes
    return judge("pro", run, records, [run, other])


def test_everything_held() -> None:
    shown = judged()
    assert shown.problems == ()
    assert ok([shown])
    told = as_json([shown])
    assert told["ok"] is True
    assert set(told["runs"][0]) == {
        "run", "tenant", "tier", "backend", "state", "input_tokens", "output_tokens", "cost_usd", "refused",
        "workspace_destroyed",
    }  # fmt: skip
    assert set(told["runs"][0]["refused"]) == set(ATTEMPTS)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"state": "failed", "reason": "exit code 1"}, "exit code 1"),
        ({"workspace_destroyed": False}, "workspace"),
        ({"usage": RUN["usage"] | {"output_tokens": 0}}, "metered"),
        ({"usage": RUN["usage"] | {"output_tokens": 23}}, "fewer tokens"),
        ({"result": None}, "was not tried"),
        (
            {"result": {"refused": {}, "breached": {"internet": "got out"}}},
            "internet was NOT refused: got out",
        ),
        ({"records": RECORDS[1:]}, "no record that internet"),
        ({"records": []}, "no record that forbidden_model"),
        ({"usage": RUN["usage"] | {"calls": 41}}, "41 calls were served, where at most 40"),
        ({"other": OTHER | {"started_at": "2026-11-23T19:00:09.000Z"}}, "not at once"),
        ({"other": OTHER | {"started_at": None}}, "not at once"),
    ],
)
def test_what_did_not_hold_is_said(changes: dict[str, Any], word: str) -> None:
    shown = judged(**changes)
    assert any(word in problem for problem in shown.problems)
    assert not ok([shown])
    assert as_json([shown])["ok"] is False


def test_nothing_shown_is_not_ok() -> None:
    assert not ok([])
