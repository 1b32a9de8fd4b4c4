"""`kill -9` of the platform: every run ends once, with a reason; nothing is left or counted twice."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow]

SLOW = "import time\nprint('begun', flush=True)\ntime.sleep(8)\nprint('ended')"


def _wait(running: Any, run: str, states: set[str], timeout_s: float = 40) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while True:
        shown = running.ok("run", "show", run)
        if shown["state"] in states:
            return dict(shown)
        assert time.monotonic() < deadline, shown
        time.sleep(0.2)


def test_runs_end_after_a_kill(start: Any, tmp_path: Path, write_agent: Any) -> None:
    running = start()
    running.ok("tenant", "create", "acme", "--tier", "pro")
    running.ok("agent", "deploy", "acme", str(write_agent(tmp_path / "slow", SLOW)))
    runs = [running.ok("run", "acme/slow", "--detach")["run"] for _ in range(3)]
    _wait(running, runs[0], {"running"})
    family = psutil.Process(running.process.pid).children(recursive=True)
    running.kill()
    psutil.wait_procs(family, timeout=10)
    assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
    running.start()
    for run in runs:
        ended = _wait(running, run, {"succeeded", "failed"})
        assert ended["state"] == "succeeded" or ended["reason"]
    assert running.ok("audit", "verify")["ok"] is True


def test_tokens_survive_a_kill_and_are_counted_once(start: Any, upstream: Any) -> None:
    import openai

    running = start()
    running.ok("endpoint", "add", "up", "--kind", "openai", "--base-url", upstream.base_url, "--model", "m1")
    running.ok("tenant", "create", "acme", "--tier", "pro")
    running.ok("entitle", "acme", "m1")
    key = running.ok("key", "create", "acme")["key"]
    for round_ in (1, 2, 3):
        url = running.ready["gateway"] + "/v1"
        with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
            for _ in range(5):
                client.chat.completions.create(model="m1", messages=[{"role": "user", "content": "a b"}])
        running.kill()
        running.start()
        totals = running.ok("usage", "acme")["totals"]
        assert totals["input_tokens"] == 100 * round_
        assert totals["output_tokens"] == 10 * round_
