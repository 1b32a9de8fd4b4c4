"""Small workloads made by hand, so that a test says what it is about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from insula.simulation.work import SECOND_US, Run, Step, Tenant, Workload


def calls(tenant: str, times_s: Iterable[float], prompt: int = 100, output: int = 50) -> list[Run]:
    """One plain call of ``tenant`` at each time."""
    return [
        Run(f"{tenant}{number}", tenant, "app", int(at * SECOND_US), (Step(prompt, output),))
        for number, at in enumerate(times_s)
    ]


def load(*parts: list[Run], **tenants: Tenant) -> Workload:
    """Put runs together; tenants that are not named have no limits and weight 1."""
    runs = sorted((run for part in parts for run in part), key=lambda run: (run.at_us, run.id))
    known = {run.tenant: Tenant() for run in runs} | tenants
    return Workload("by hand", "test", tuple(runs), known)


@pytest.fixture(name="calls", scope="session")
def calls_fixture() -> Any:
    return calls


@pytest.fixture(name="load", scope="session")
def load_fixture() -> Any:
    return load
