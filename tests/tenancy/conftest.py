from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from insula.kernel.clock import ManualClock
from insula.storage import ControlDatabase
from insula.tenancy import Trust
from insula.tenancy.adapters.sql import SqlRegistry


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlDatabase]:
    database = ControlDatabase(tmp_path / "control.db")
    yield database
    database.close()


@pytest.fixture
def registry(control: ControlDatabase) -> SqlRegistry:
    return SqlRegistry(control, Trust.INTERNAL, ManualClock())
