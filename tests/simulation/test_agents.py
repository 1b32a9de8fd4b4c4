"""Agents that are made up: their graphs can be walked, and the seed decides everything."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from insula.simulation import agents, servegen
from insula.simulation.workloads import CLIENTS, HERE, workload

KNOWN = servegen.load(HERE / CLIENTS)


@given(st.integers(0, 10**9), st.sampled_from(KNOWN))
def test_a_graph_has_3_to_30_calls_that_need_only_earlier_ones(seed: int, client: servegen.Client) -> None:
    steps = agents.graph(client, random.Random(seed))
    assert agents.FEWEST <= len(steps) <= agents.MOST
    for number, step in enumerate(steps):
        assert all(0 <= need < number for need in step.needs)
        assert bool(step.needs) == (number > 0)
        assert step.prompt >= 1 and 1 <= step.output <= agents.LONGEST_OUTPUT
        assert step.tool_us >= 0 and step.human_us >= 0
    needed = {need for step in steps for need in step.needs}
    assert needed == set(range(len(steps) - 1))


def test_graphs_differ_and_have_all_that_agents_do() -> None:
    rng = random.Random(1)
    graphs = [agents.graph(KNOWN[n % len(KNOWN)], rng) for n in range(400)]
    assert len({len(steps) for steps in graphs}) > 15
    assert 0.4 < sum(any(step.human_us for step in steps) for steps in graphs) / 400 < 0.6
    assert sum(any(step.agent for step in steps) for steps in graphs) > 60
    assert sum(any(step.tool_us for step in steps) for steps in graphs) > 350


def test_every_tenant_works_and_the_seed_decides() -> None:
    one, _ = workload("agents", 3, tenants=50, slots=4)
    assert {run.tenant for run in one.runs} == set(one.tenants)
    assert len(one.tenants) == 50
    assert {tenant.weight for tenant in one.tenants.values()} == {1, 4, 8}
    assert any(tenant.period_tokens for tenant in one.tenants.values())
    assert one == workload("agents", 3, tenants=50, slots=4)[0]
    assert one != workload("agents", 4, tenants=50, slots=4)[0]


def test_small_tenants_are_the_third_with_the_fewest_calls() -> None:
    arena, _ = workload("arena", 1)
    small = arena.small()
    asked = {name: sum(run.tenant == name for run in arena.runs) for name in arena.tenants}
    assert len(small) == 9
    assert max(asked[name] for name in small) < min(
        asked[name] for name in arena.tenants if name not in small
    )
