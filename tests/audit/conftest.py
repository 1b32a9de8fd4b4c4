from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from insula.audit import AuditLog
from insula.kernel.clock import ManualClock
from insula.storage import ControlDatabase, SqlHeads

KEY = b"a" * 32
Open = Callable[[], AuditLog]


@pytest.fixture
def heads(tmp_path: Path) -> Iterator[SqlHeads]:
    control = ControlDatabase(tmp_path / "control.db")
    yield SqlHeads(control)
    control.close()


@pytest.fixture
def reopen(tmp_path: Path, heads: SqlHeads) -> Iterator[Open]:
    """Opens the same log again, as a new process would."""
    opened: list[AuditLog] = []

    def open_log() -> AuditLog:
        opened.append(AuditLog(tmp_path / "audit", KEY, heads, ManualClock()))
        return opened[-1]

    yield open_log
    for log in opened:
        log.close()


@pytest.fixture
def log(reopen: Open) -> AuditLog:
    return reopen()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of acme's stream."""
    return tmp_path / "audit" / "acme.jsonl"
