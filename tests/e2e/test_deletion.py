"""Deleting a tenant destroys its key, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root

CANARY = "canary-7f3a9c51e2"


def test_a_deleted_tenant_is_unreadable(start: Any, tmp_path: Path, write_agent: Any) -> None:
    running = start()
    running.ok("tenant", "create", "gone", "--tier", "pro")
    say = write_agent(tmp_path / "say", f"print('{CANARY}')")
    running.ok("agent", "deploy", "gone", str(say))
    run = running.ok("run", "gone/say")
    assert CANARY in run["output"]
    assert _holding(running.home, CANARY) == []
    receipt = running.ok("tenant", "delete", "gone", "--yes")
    assert receipt["tenant"] == "gone"
    assert receipt["key_fingerprint"]
    assert running.run("run", "show", run["run"]).code == 1
    assert running.run("tenant", "create", "gone", "--tier", "pro").code != 0
    assert not list((running.home / "tenants").glob("gone/*"))


def _holding(home: Path, text: str) -> list[Path]:
    """Return the files under ``home`` that hold ``text`` in clear."""
    return [path for path in home.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
