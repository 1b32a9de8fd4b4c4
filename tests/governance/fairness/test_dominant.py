"""D1-D5: dominant seconds."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.governance.fairness import (
    Capacity,
    Demand,
    FairQueue,
    Item,
    Lane,
    dominant_ns,
    kv_token_ns,
    model_call,
)

AMOUNT = st.integers(0, 10**9)
DEMANDS = st.builds(
    Demand,
    held=st.dictionaries(st.sampled_from(["slots", "kv"]), AMOUNT),
    consumed=st.dictionaries(st.sampled_from(["prefill", "decode"]), AMOUNT),
)
CAPACITY = Capacity(held={"slots": 8, "kv": 60_000}, consumed={"prefill": 9_000, "decode": 700})


def test_the_largest_part_of_the_whole_is_the_cost() -> None:
    demand = Demand(held={"slots": 2_000_000_000}, consumed={"prefill": 4_500, "decode": 70})
    assert dominant_ns(demand, CAPACITY) == 500_000_000, "half a second of all the prefill there is"
    assert dominant_ns(replace(demand, consumed={}), CAPACITY) == 250_000_000, "one of eight slots for 2 s"
    assert dominant_ns(demand, Capacity()) == 1, "what is not scarce costs nothing"


def test_costs_are_rounded_up() -> None:
    assert dominant_ns(Demand(consumed={"decode": 1}), Capacity(consumed={"decode": 3})) == 333_333_334


def test_the_cache_of_a_call_grows_with_its_output() -> None:
    step_ns = 1_000_000
    prompt, output = 1000, 200
    exact = step_ns * (prompt * output + Fraction(output**2, 2))
    assert kv_token_ns(prompt, output, output * step_ns) == exact
    demand = model_call(prompt, output, output * step_ns)
    assert demand.held == {"slots": output * step_ns, "kv_tokens": exact}
    assert demand.consumed == {"prefill_tokens": prompt, "decode_tokens": output}


@pytest.mark.parametrize("wrong", [0, -1])
def test_no_capacity_is_no_capacity(wrong: int) -> None:
    with pytest.raises(ValueError, match="capacity of slots"):
        Capacity(held={"slots": wrong})


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40), st.integers(1, 50))
def test_with_one_resource_the_schedule_is_that_of_its_cost(amounts: list[int], rate: int) -> None:
    """D1, with amounts that are not rounded."""
    capacity = Capacity(consumed={"decode": 1_000_000_000 * rate})
    plain, shared = FairQueue(), FairQueue()
    for n, amount in enumerate(amounts):
        demand = Demand(consumed={"decode": amount * rate})
        for queue, cost in ((plain, amount), (shared, dominant_ns(demand, capacity))):
            queue.enqueue(Item(f"i{n}", f"t{n % 3}", "f", Lane.INTERACTIVE, cost), n)
    order = [[queue.pick(0) for _ in amounts] for queue in (plain, shared)]
    assert [item and item.id for item in order[0]] == [item and item.id for item in order[1]]


@given(DEMANDS, st.integers(1, 10**6))
def test_the_unit_of_a_resource_does_not_matter(demand: Demand, factor: int) -> None:
    """D2."""
    scaled = Demand(
        {name: amount * factor for name, amount in demand.held.items()},
        {name: amount * factor for name, amount in demand.consumed.items()},
    )
    capacity = Capacity(
        {name: amount * factor for name, amount in CAPACITY.held.items()},
        {name: amount * factor for name, amount in CAPACITY.consumed.items()},
    )
    assert dominant_ns(scaled, capacity) == dominant_ns(demand, CAPACITY)


@given(DEMANDS, DEMANDS)
def test_asking_for_more_never_costs_less(demand: Demand, extra: Demand) -> None:
    """D5."""
    more = Demand(_sum(demand.held, extra.held), _sum(demand.consumed, extra.consumed))
    assert dominant_ns(more, CAPACITY) >= dominant_ns(demand, CAPACITY)


@given(st.integers(0, 2**32))
def test_everybody_gets_its_share_of_what_it_leans_on(seed: int) -> None:
    """D3, D4: three resources, each tenant leans on another; shares of dominant time within 2 U."""
    random, queue = Random(seed), FairQueue()
    weights = {"slots": 1, "prefill": 2, "decode": 3}
    costs: dict[str, int] = {}
    for tenant, weight in weights.items():
        queue.weigh(tenant, weight)
        for n in range(40):
            demand = _leaning(tenant, random)
            item = Item(f"{tenant}{n}", tenant, "f", Lane.INTERACTIVE, dominant_ns(demand, CAPACITY))
            costs[item.id] = item.cost
            queue.enqueue(item, 0)
    received = dict.fromkeys(weights, 0)
    largest = Fraction(0)
    while all(queue.waiting(tenant) for tenant in weights):
        item = queue.pick(0)
        assert item is not None
        received[item.tenant] += item.cost
        largest = max(largest, Fraction(item.cost, weights[item.tenant]))
        entitled = Fraction(sum(received.values()), sum(weights.values()))
        for tenant, weight in weights.items():
            assert received[tenant] >= weight * (entitled - 2 * largest)


def _leaning(resource: str, random: Random) -> Demand:
    amounts = {
        "slots": random.randint(1, 10**9),
        "prefill": random.randint(0, 900),
        "decode": random.randint(0, 70),
    }
    amounts[resource] *= 10
    return Demand(
        held={"slots": amounts["slots"]},
        consumed={"prefill": amounts["prefill"], "decode": amounts["decode"]},
    )


def _sum(one: object, other: object) -> dict[str, int]:
    assert isinstance(one, dict) and isinstance(other, dict)
    return {name: one.get(name, 0) + other.get(name, 0) for name in {*one, *other}}
