"""The commands that scripts rely on: names, shapes, exit codes."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root

ECHO = """
import json, os, sys
question = sys.stdin.read()
print("heard", question)
with open(os.environ["INSULA_RESULT"], "w") as result:
    json.dump({"length": len(question)}, result)
"""


def test_up_prints_one_line_that_says_where_it_is(platform: Any) -> None:
    assert set(platform.ready) == {"api", "gateway", "token", "pid"}
    assert platform.ready["pid"] == platform.process.pid
    with urllib.request.urlopen(f"{platform.ready['api']}/healthz") as answer:
        assert answer.status == 200


def test_a_run_comes_back_in_the_promised_shape(platform: Any, tmp_path: Path, write_agent: Any) -> None:
    platform.ok("agent", "deploy", "acme", str(write_agent(tmp_path / "echo", ECHO)))
    question = tmp_path / "question.txt"
    question.write_text("how are you")
    done = platform.run("run", "acme/echo", "--input", str(question), "--json")
    assert done.code == 0, done.err
    run = done.json
    assert {"run", "state", "backend", "exit_code", "output", "result", "usage", "reason"} <= set(run)
    assert run["state"] == "succeeded"
    assert run["backend"] == "bubblewrap"
    assert run["exit_code"] == 0
    assert run["output"] == "heard how are you\n"
    assert run["result"] == {"length": 11}
    shown = platform.ok("run", "show", run["run"])
    assert shown["state"] == "succeeded"
    assert shown["output"] == run["output"]


def test_input_may_come_from_standard_input(platform: Any, tmp_path: Path, write_agent: Any) -> None:
    platform.ok("agent", "deploy", "acme", str(write_agent(tmp_path / "echo", ECHO)))
    run = platform.ok("run", "acme/echo", "--input", "-", stdin="abc")
    assert run["output"] == "heard abc\n"


def test_a_failing_agent_makes_the_command_fail(platform: Any, tmp_path: Path, write_agent: Any) -> None:
    platform.ok("agent", "deploy", "acme", str(write_agent(tmp_path / "bad", "raise SystemExit(7)")))
    done = platform.run("run", "acme/bad", "--json")
    assert done.code == 1
    assert done.json["state"] == "failed"
    assert done.json["exit_code"] == 7
    assert done.json["reason"]


def test_a_detached_run_is_found_again(platform: Any, tmp_path: Path, write_agent: Any) -> None:
    platform.ok("agent", "deploy", "acme", str(write_agent(tmp_path / "echo", ECHO)))
    run = platform.ok("run", "acme/echo", "--detach")
    assert re.fullmatch(r"run_[0-9a-z]{26}", run["run"])
    followed = platform.run("run", "logs", run["run"], "--follow")
    assert "heard" in followed.out
    assert platform.ok("run", "show", run["run"])["state"] == "succeeded"


def test_errors_name_the_problem_and_end_in_a_hint(platform: Any) -> None:
    done = platform.run("run", "nobody/none")
    assert done.code == 1
    assert "error:" in done.err
    assert "hint:" in done.err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    [
        ("tenant", "create", "Bad Name", "--tier", "pro"),
        ("tenant", "create", "good", "--tier", "platinum"),
        ("limit", "set", "acme", "--rpm", "-1"),
        ("limit", "set", "acme", "--tpm", "many"),
        ("endpoint", "add", "x", "--kind", "openai", "--base-url", "nonsense", "--model", "m"),
        (
            "endpoint",
            "add",
            "x",
            "--kind",
            "carrier-pigeon",
            "--base-url",
            "http://127.0.0.1:1/v1",
            "--model",
            "m",
        ),
        ("run", "no-slash"),
    ],
)
def test_bad_words_are_usage_errors(platform: Any, words: tuple[str, ...]) -> None:
    done = platform.run(*words)
    assert done.code == 2, done.err
    assert done.err.strip()


def test_doctor_says_what_is_missing_and_how_to_get_it(platform: Any) -> None:
    done = platform.run("doctor", "--json")
    assert done.code in (0, 3)
    text = json.dumps(done.json)
    assert "bubblewrap" in text
    assert "gvisor" in text
    assert "not built yet" in text


def test_tier_plan_prints_what_would_move(platform: Any) -> None:
    moves = platform.ok("tier", "plan", "bolt", "enterprise")
    assert "compute" in json.dumps(moves)


def test_audit_is_whole(platform: Any) -> None:
    assert platform.ok("audit", "verify")["ok"] is True


def test_tampering_with_the_audit_shows(start: Any) -> None:
    running = start()
    running.ok("tenant", "create", "acme", "--tier", "pro")
    running.ok("tenant", "create", "bolt", "--tier", "pro")
    stream = running.home / "audit" / "acme.jsonl"
    whole = stream.read_bytes()
    stream.write_bytes(whole.replace(b'"acme"', b'"bolt"', 1))
    done = running.run("audit", "verify", "--json")
    assert done.code == 3
    assert done.json["ok"] is False
    stream.write_bytes(whole)
    assert running.ok("audit", "verify")["ok"] is True


def test_usage_is_by_model_and_day(platform: Any) -> None:
    rows = platform.ok("usage", "acme")
    assert isinstance(rows, dict)
