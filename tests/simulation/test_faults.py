"""What goes wrong, each alone and all at once: nothing that was promised may break."""

from __future__ import annotations

from typing import Any

import pytest

from insula.simulation import faults
from insula.simulation.engine import Setup, simulate
from insula.simulation.faults import Faults
from insula.simulation.policies import POLICIES, WFQ_DRF
from insula.simulation.service import Service
from insula.simulation.work import SECOND_US, Run, Step, Tenant
from insula.simulation.workloads import workload


@pytest.mark.parametrize(
    "fault",
    [
        Faults(gateways=2, crash_us=30 * SECOND_US),
        Faults(jump_us=25 * SECOND_US, jump_by_us=20 * SECOND_US),
        Faults(twice=500),
        Faults(late=300, late_by_us=300 * SECOND_US),
        Faults(reordered=500),
        Faults(lost=200),
    ],
    ids=["crash", "jump", "twice", "late", "reordered", "lost"],
)
def test_each_fault_alone(fault: Faults, load: Any, calls: Any) -> None:
    work = load(
        calls("acme", (n * 0.8 for n in range(150)), output=300),
        calls("umbra", (n * 2.0 for n in range(60)), output=200),
        acme=Tenant(weight=3, tpm=30_000),
        umbra=Tenant(tpm=9_000, period_tokens=15_000),
    )
    outcome = simulate(Setup(work, Service(slots=4), 7, fault), WFQ_DRF)
    assert outcome.violations.as_list() == []
    assert outcome.overshoot_ticks == 0
    if fault.crash_us:
        assert outcome.measures.crashed_calls > 0
    if fault.twice:
        assert outcome.duplicates > 0
    if fault.late:
        assert outcome.overrun_tokens > 0


@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
def test_agents_with_every_fault_at_once(policy: Any) -> None:
    work, service = workload("agents", 2, tenants=12, slots=3)
    outcome = simulate(Setup(work, service, 2, faults.ALL), policy)
    assert outcome.violations.as_list() == []
    for name in ("P1", "P3", "P9", "Q2", "L1", "L2", "L4", "L5", "M1", "M4", "C2"):
        assert outcome.violations.checked[name] > 0, name
    assert outcome.measures.crashed_calls > 0 or policy.gated


def test_a_run_that_waits_for_a_person_gives_its_sandbox_back() -> None:
    patient = Step(100, 50)
    pausing = Run(
        "p", "acme", "a", 0, (patient, Step(100, 50, needs=(0,), human_us=600 * SECOND_US)), False, True
    )
    other = Run("q", "umbra", "a", SECOND_US, (patient,), False, True)
    work = _workload(pausing, other)
    outcome = simulate(Setup(work, Service(sandboxes=1), 1), WFQ_DRF)
    assert outcome.measures.runs == 2
    assert max(outcome.measures.waits["umbra"]) < 10 * SECOND_US
    assert outcome.violations.as_list() == []


def test_sub_agents_work_side_by_side() -> None:
    steps = (
        Step(2, 50),
        Step(2, 50, needs=(0,), agent=1),
        Step(2, 50, needs=(0,), agent=2),
        Step(2, 50, needs=(1, 2)),
    )
    outcome = simulate(Setup(_workload(Run("r", "acme", "a", 0, steps, False, True)), Service(), 1), WFQ_DRF)
    assert outcome.measures.calls == 4
    assert 3 * SECOND_US <= outcome.measures.end_us < 4 * SECOND_US


def test_a_budget_is_never_passed_and_the_last_answer_is_cut_to_it(load: Any, calls: Any) -> None:
    work = load(calls("acme", range(0, 100, 10), prompt=100, output=200), acme=Tenant(period_tokens=1100))
    outcome = simulate(Setup(work, Service(), 1), WFQ_DRF)
    assert outcome.books.tokens == 1100
    assert outcome.measures.refused == 6
    assert outcome.violations.as_list() == []


def _workload(*runs: Run) -> Any:
    from insula.simulation.work import Workload

    return Workload("by hand", "test", runs, {run.tenant: Tenant() for run in runs})
