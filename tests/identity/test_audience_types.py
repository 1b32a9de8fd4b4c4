"""The type checker refuses a context for another layer, a bare tenant id, and a home-made context."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SNIPPET = """
from insula.identity import Gateway, Storage, Verifier, VerifiedContext
from insula.kernel.ids import TenantId

def store(context: VerifiedContext[Storage]) -> None: ...

def calls(gateway: Verifier[Gateway], storage: Verifier[Storage], tenant: TenantId) -> None:
    store(storage.verify(""))
    store(gateway.verify(""))  # wrong
    store(tenant)  # wrong
    storage.verify("").tenant = tenant  # wrong
"""


@pytest.mark.slow
def test_a_mixed_up_audience_does_not_type_check(tmp_path: Path) -> None:
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET)
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-error-summary",
            "--cache-dir",
            str(tmp_path / "cache"),
            file,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = {number for number, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# wrong")}
    assert {int(line) for line in re.findall(r"snippet\.py:(\d+): error", found.stdout)} == wrong, (
        found.stdout
    )
