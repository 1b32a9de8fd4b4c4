"""C1: one simulated day of 2,000 tenants' agents, with every fault, and all that is promised checked."""

from __future__ import annotations

import pytest

from insula.simulation import faults
from insula.simulation.engine import Setup, simulate
from insula.simulation.policies import WFQ_DRF
from insula.simulation.workloads import workload


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_day_of_2000_tenants() -> None:
    work, service = workload("agents", 1, tenants=2000, hours=24, slots=4)
    assert len({run.tenant for run in work.runs}) == 2000
    outcome = simulate(Setup(work, service, 1, faults.ALL), WFQ_DRF)
    assert outcome.violations.as_list() == []
    assert outcome.overshoot_ticks == 0
    assert outcome.gap.worst <= outcome.gap.bound()
    assert outcome.measures.calls > 10_000
    assert outcome.measures.crashed_calls > 0
    assert outcome.duplicates > 0
