"""The demonstration as a script would run it: a real platform, a real model, every attempt refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from insula.cli.demo.verdict import ATTEMPTS

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(400)]


def test_the_demonstration_holds() -> None:
    command = [str(Path(sys.executable).with_name("insula")), "demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=380)
    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr + done.stdout
    assert told["ok"] is True
    assert [run["tier"] for run in told["runs"]] == ["pro", "free"]
    for run in told["runs"]:
        assert (run["state"], run["backend"]) == ("succeeded", "bubblewrap")
        assert set(run["refused"]) == set(ATTEMPTS)
        assert run["input_tokens"] > 0
        assert run["output_tokens"] > 0
        assert run["workspace_destroyed"] is True
    assert 'trust="internal"' in done.stderr
