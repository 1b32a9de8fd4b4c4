"""``insula policy`` against a running platform."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def insula(running: Any) -> Any:
    running.insula.data("tenant", "create", "polly", "--tier", "pro")
    return running.insula


def test_a_policy_through_its_life(insula: Any, tmp_path: Path) -> None:
    text = tmp_path / "main.cel"
    text.write_text('// no shells\nrequest.tools.exists(t, t == "shell") ? deny("no shells") : allow()\n')
    assert insula.data("policy", "set", "polly/chat", str(text), "--shadow")["mode"] == "shadow"
    assert insula.data("policy", "set", "polly", "-", "--name", "cap", stdin="limit(500)")["version"] == 1
    assert [one["name"] for one in insula.data("policy", "list", "polly")] == ["cap"]
    assert insula.data("policy", "show", "polly/chat")["expression"] == text.read_text()
    assert insula.data("policy", "shadow", "polly/chat") == []
    shown = insula("policy", "show", "polly", "--name", "cap")
    assert "limit(500)" in shown.stdout
    assert insula.data("policy", "delete", "polly", "--name", "cap") == {"removed": "cap"}
    assert insula.data("policy", "list", "polly") == []
    gone = insula("policy", "delete", "polly", "--name", "cap")
    assert (gone.returncode, "insula policy list" in gone.stderr) == (1, True)


def test_a_bad_policy_is_refused_with_its_place(insula: Any) -> None:
    done = insula("policy", "set", "polly", "-", stdin="true &&\n  request.modle == 'x'")
    assert done.returncode == 2
    assert "line 2, column 3: there is no field request.modle" in done.stderr
    assert "did you mean request.model?" in done.stderr
