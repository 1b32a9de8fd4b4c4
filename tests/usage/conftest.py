"""What the usage tests share: one event, and real books on a real database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from insula.storage import ControlDatabase
from insula.usage import UsageEvent
from insula.usage.adapters.sql import SqlBooks

MakeEvent = Callable[..., UsageEvent]


def event(number: int = 1, **changes: Any) -> UsageEvent:
    """Return a sound event; ``changes`` replace fields."""
    fields: dict[str, Any] = {
        "event_id": f"evt_{number:026d}",
        "tenant_id": "acme",
        "request_id": f"req_{number}",
        "provider": "openai",
        "model_id": "m1",
        "timestamp": 1_790_000_000.5,
        "started_at": 1_790_000_000.0,
        "input_tokens": 100,
        "output_tokens": 20,
        "cost_nanousd": 1_234,
        "price_version": "p1",
        "agent_id": "researcher",
        "run_id": "run_1",
    }
    return UsageEvent(**{**fields, **changes})


@pytest.fixture(scope="session")
def make() -> MakeEvent:
    return event


@pytest.fixture
def books(tmp_path: Path) -> Iterator[SqlBooks]:
    control = ControlDatabase(tmp_path / "control.db")
    yield SqlBooks(control)
    control.close()
