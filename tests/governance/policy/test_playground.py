"""``insula policy test``: a policy tried on a made-up call, without a running platform."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from insula.cli.main import run
from insula.governance.policy.playground import values_of
from insula.kernel.errors import InvalidRequest

POLICY = 'request.max_tokens > 4000 ? deny("at most 4000") : tenant.tier == "free" ? limit(500) : allow()'


@pytest.fixture
def files(tmp_path: Path) -> Any:
    def write(policy: str, request: Any = None) -> list[str]:
        (tmp_path / "p.cel").write_text(policy)
        words = ["policy", "test", str(tmp_path / "p.cel")]
        if request is not None:
            (tmp_path / "r.json").write_text(request if isinstance(request, str) else json.dumps(request))
            words += ["--request", str(tmp_path / "r.json")]
        return words

    return write


@pytest.mark.parametrize(
    ("request_", "code", "decision"),
    [
        ({}, 0, "allow"),
        ({"tenant": {"tier": "free"}}, 0, "limit"),
        ({"request": {"max_tokens": 5000}}, 3, "deny"),
    ],
)
def test_the_exit_code_tells_whether_the_call_would_go_through(
    files: Any, request_: Any, code: int, decision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*files(POLICY, request_), "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert (told["decision"], told["refused"]) == (decision, code == 3)
    assert told["reads"] == ["request.max_tokens", "tenant.tier"]
    assert 0 < told["cost"] <= told["most_cost"]


def test_defaults_are_told_for_what_the_policy_reads(files: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files(POLICY, {"request": {"model": "gpt-4o"}})) == 0
    output, talk = capsys.readouterr()
    assert output.startswith("decision  allow\n")
    assert "default: request.max_tokens = 1024" in talk
    assert "default: tenant.tier" in talk
    assert "request.model" not in talk


def test_an_evaluation_that_fails_refuses(files: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*files("100 / request.in_tokens > 1"), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["decision"] == "error"
    assert "division by zero" in told["reason"]


def test_a_policy_comes_from_stdin_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"request.modle == 'x'")))
    assert run(["policy", "test", "-"]) == 2
    assert "did you mean request.model?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([], None),
        ({"request": 5}, "request"),
        ({"reqest": {}}, "reqest"),
        ({"request": {"modle": "x"}}, "request.modle"),
        ({"request": {"max_tokens": -1}}, "request.max_tokens"),
        ({"request": {"max_tokens": 1.5}}, "request.max_tokens"),
        ({"request": {"max_tokens": True}}, "request.max_tokens"),
        ({"request": {"max_tokens": 2**63}}, "request.max_tokens"),
        ({"request": {"est_usd": float("nan")}}, "request.est_usd"),
        ({"request": {"tools": "shell"}}, "request.tools"),
        ({"request": {"tools": ["a"] * 129}}, "request.tools"),
        ({"request": {"model": "m" * 129}}, "request.model"),
        ({"tenant": {"tags": [1]}}, "tenant.tags"),
        ({"usage": {"week": {}}}, "usage.week"),
        ({"usage": {"day": {"usd": "5"}}}, "usage.day.usd"),
        ({"now": "soon"}, "now"),
        ({"now": "2026-12-01T09:00:00"}, "now"),
        ({"now": 5}, "now"),
    ],
)
def test_a_bad_request_file_is_refused_with_field_and_fix(given: Any, field: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        values_of(given)
    assert caught.value.field == field
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null"])
def test_a_request_file_that_is_no_object_is_refused(
    files: Any, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(files("true", text)) == 2
    assert "hint: " in capsys.readouterr().err


def test_every_variable_can_be_given() -> None:
    given = {
        "tenant": {"id": "a", "tier": "free", "tags": ["x"]},
        "app": {"id": "chat"},
        "agent": {"id": "r", "depth": 2},
        "request": {
            "model": "m",
            "lane": "batch",
            "in_tokens": 1,
            "max_tokens": 2,
            "est_quota": 3,
            "est_usd": 1,
            "tools": ["t"],
        },
        "usage": {w: {"quota": 1, "usd": 0.5, "requests": 2} for w in ("hour", "day", "month")},
        "now": "2026-12-01T09:00:00+01:00",
    }
    values, defaults = values_of(given)
    assert not defaults
    assert values["request_est_usd"] == 1.0
    assert str(values["now"]) == "2026-12-01 08:00:00+00:00"
