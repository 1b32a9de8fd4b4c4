"""Q2-Q5, Q7, Q8: nothing idles, lanes and lines are in order, nobody starves, replicas agree."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from insula.governance.fairness import FairQueue, Item, Lane
from insula.governance.fairness.trial import Terms, Trial

I, B = Lane.INTERACTIVE, Lane.BATCH  # noqa: E741 - short rows
HOUR_US = 3_600_000_000


def drain(queue: FairQueue, now_us: int = 0) -> list[str]:
    return [item.id for item in iter(lambda: queue.pick(now_us), None)]


def fill(queue: FairQueue, *rows: tuple[str, str, str, Lane, int]) -> None:
    for name, tenant, flow, lane, cost in rows:
        queue.enqueue(Item(name, tenant, flow, lane, cost), 0)


class Careful(FairQueue):
    """A queue whose every pick is checked against what is waiting."""

    def __init__(self) -> None:
        super().__init__(batch_age_us=HOUR_US)
        self.lines: dict[tuple[str, Lane, str], list[str]] = {}
        self.blocked: set[str] = set()

    def enqueue(self, item: Item, now_us: int) -> None:
        self.lines.setdefault((item.tenant, item.lane, item.flow), []).append(item.id)
        super().enqueue(item, now_us)

    def pick(self, now_us: int, fits: Callable[[Item], bool] | None = None) -> Item | None:
        item = super().pick(now_us, fits)
        may = any(line for (tenant, _, _), line in self.lines.items() if tenant not in self.blocked)
        assert (item is not None) == may, "work is conserved"
        if item is not None:
            self.check(item)
        return item

    def check(self, item: Item) -> None:
        assert item.tenant not in self.blocked
        assert self.lines[item.tenant, item.lane, item.flow].pop(0) == item.id, "first in, first out"
        if item.lane is B:
            urgent = [line for (t, lane, _), line in self.lines.items() if t == item.tenant and lane is I]
            assert not any(urgent), "interactive before batch"

    def requeue(self, item_id: str, now_us: int, *, keep_charge: bool) -> None:
        slip = self._slips[item_id]
        line = self.lines[slip.item.tenant, slip.item.lane, slip.item.flow]
        line.append(item_id)
        line.sort(key=lambda name: int(name[1:]))
        super().requeue(item_id, now_us, keep_charge=keep_charge)

    def cancel(self, item_id: str) -> bool:
        for line in self.lines.values():
            if item_id in line:
                line.remove(item_id)
        return super().cancel(item_id)

    def block(self, tenant: str, flow: str | None = None) -> None:
        self.blocked.add(tenant)
        super().block(tenant, flow)

    def unblock(self, tenant: str, now_us: int, flow: str | None = None) -> None:
        self.blocked.discard(tenant)
        super().unblock(tenant, now_us, flow)


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_no_slot_idles_lanes_are_strict_and_each_flow_goes_in_order(seed: int) -> None:
    Trial(Careful(), seed, Terms(steps=80)).run()


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=20, deadline=None)
def test_replicas_that_read_the_same_log_choose_alike(seed: int, room: bool) -> None:
    terms = Terms(steps=80, room=room, skip_budget=1)
    logs = [Trial(FairQueue(skip_budget=1), seed, terms) for _ in range(2)]
    for trial in logs:
        trial.run()
    assert logs[0].log == logs[1].log


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_who_waits_is_served_before_others_received_twice_the_largest_cost(seed: int) -> None:
    random, queue = Random(seed), FairQueue()
    weights = {f"t{n}": random.randint(1, 4) for n in range(5)}
    for tenant, weight in weights.items():
        queue.weigh(tenant, weight)
        for n in range(60):
            queue.enqueue(Item(f"{tenant}/{n}", tenant, "f", I, random.randint(1, 100)), 0)
    since = {tenant: dict.fromkeys(weights, 0) for tenant in weights}
    while all(queue.waiting(tenant) for tenant in weights):
        item = queue.pick(0)
        assert item is not None
        for tenant in weights:
            since[tenant][item.tenant] += item.cost
        since[item.tenant] = dict.fromkeys(weights, 0)
        for others in since.values():
            assert all(cost <= weights[tenant] * 200 for tenant, cost in others.items())


def test_items_that_are_cancelled_leave_no_trace() -> None:
    def order(cancelled: bool) -> list[str]:
        queue = FairQueue()
        for n in range(20):
            fill(queue, (f"a{n}", "a", "f", I, 7), (f"b{n}", "b", "f", I, 5))
            if cancelled:
                fill(queue, (f"x{n}", "a", "f", I, 900), (f"y{n}", "b", "g", B, 900))
        if cancelled:
            assert all(queue.cancel(f"{kind}{n}") for n in range(20) for kind in "xy")
            assert not queue.cancel("x0")
        return drain(queue)

    assert order(cancelled=True) == order(cancelled=False)


def test_an_item_put_back_and_then_cancelled_has_cost_nothing() -> None:
    queue = FairQueue()
    fill(queue, ("a1", "a", "f", I, 100), ("a2", "a", "f", I, 100), ("b1", "b", "f", I, 1))
    assert queue.pick(0).id == "a1"  # type: ignore[union-attr]
    queue.requeue("a1", 0, keep_charge=True)
    assert queue.cancel("a1")
    assert drain(queue) == ["a2", "b1"], "a is level with b again, and older"


def test_a_requeued_item_keeps_its_place_and_is_not_charged_twice() -> None:
    queue = FairQueue()
    fill(
        queue,
        *((f"a{n}", "a", "f", I, 10) for n in range(4)),
        *((f"b{n}", "b", "f", I, 10) for n in range(4)),
    )
    taken = [queue.pick(0).id for _ in range(4)]  # type: ignore[union-attr]
    assert taken == ["a0", "b0", "a1", "b1"]
    for name in ("a0", "a1"):
        queue.requeue(name, 0, keep_charge=True)
    assert drain(queue) == ["a0", "a1", "a2", "b2", "a3", "b3"]


def test_a_requeued_item_whose_charge_is_undone_goes_first_again() -> None:
    queue = FairQueue()
    fill(queue, ("a0", "a", "f", I, 10), ("a1", "a", "f", I, 10), ("b0", "b", "f", I, 3))
    queue.pick(0)
    queue.requeue("a0", 5, keep_charge=False)
    assert drain(queue) == ["a0", "b0", "a1"]


def test_old_batch_work_moves_to_the_tail_of_interactive() -> None:
    queue = FairQueue(batch_age_us=100)
    queue.enqueue(Item("b0", "a", "f", B, 1), 0)
    queue.enqueue(Item("b1", "a", "f", B, 1), 60)
    for n in range(3):
        queue.enqueue(Item(f"i{n}", "a", "f", I, 1), 70)
    assert queue.pick(99).id == "i0"  # type: ignore[union-attr]
    assert queue.pick(100).id == "i1"  # type: ignore[union-attr]
    queue.enqueue(Item("i3", "a", "f", I, 1), 101)
    assert drain(queue, 101) == ["i2", "b0", "i3", "b1"]


def test_across_tenants_a_lane_counts_for_nothing() -> None:
    queue = FairQueue()
    fill(
        queue, *((f"a{n}", "a", "f", B, 5) for n in range(3)), *((f"b{n}", "b", "f", I, 5) for n in range(3))
    )
    assert drain(queue) == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_flows_of_a_tenant_share_it_by_the_same_rule() -> None:
    queue = FairQueue()
    fill(
        queue,
        *((f"x{n}", "a", "x", I, 10) for n in range(6)),
        *((f"y{n}", "a", "y", I, 20) for n in range(3)),
    )
    assert drain(queue) == ["x0", "y0", "x1", "x2", "y1", "x3", "x4", "y2", "x5"]


def test_a_blocked_tenant_earns_no_debt() -> None:
    queue = FairQueue()
    for n in range(20):
        fill(queue, (f"a{n}", "a", "f", I, 10), (f"b{n}", "b", "f", I, 10))
    queue.block("a")
    assert [queue.pick(0).id for _ in range(10)] == [f"b{n}" for n in range(10)]  # type: ignore[union-attr]
    queue.unblock("a", 0)
    assert drain(queue)[:4] == ["a0", "b10", "a1", "b11"], "they share from here on"


def test_a_blocked_flow_holds_up_nobody_else() -> None:
    queue = FairQueue()
    queue.block("a", "x")
    for n in range(4):
        fill(queue, (f"x{n}", "a", "x", I, 10), (f"y{n}", "a", "y", I, 10))
    assert drain(queue) == ["y0", "y1", "y2", "y3"]
    assert queue.waiting("a") == queue.waiting() == 4
    queue.unblock("a", 0, "x")
    assert drain(queue) == ["x0", "x1", "x2", "x3"]


def test_a_change_of_weight_holds_from_the_next_charge() -> None:
    queue = FairQueue()
    fill(
        queue,
        *((f"a{n}", "a", "f", I, 12) for n in range(9)),
        *((f"b{n}", "b", "f", I, 12) for n in range(9)),
    )
    queue.weigh("a", 3)
    assert [queue.pick(0).tenant for _ in range(8)].count("a") == 6  # type: ignore[union-attr]
    queue.weigh("a", 1)
    assert [queue.pick(0).tenant for _ in range(4)].count("a") == 2  # type: ignore[union-attr]


def test_progress_and_settle_correct_the_charge_either_way() -> None:
    queue = FairQueue()
    fill(
        queue,
        *((f"a{n}", "a", "f", I, 10) for n in range(3)),
        *((f"b{n}", "b", "f", I, 10) for n in range(9)),
    )
    assert queue.pick(0).id == "a0"  # type: ignore[union-attr]
    queue.progress("a0", 35)
    queue.progress("a0", 20)
    assert [queue.pick(0).id for _ in range(4)] == ["b0", "b1", "b2", "b3"]  # type: ignore[union-attr]
    queue.settle("a0", 5)
    queue.settle("a0", 5)
    queue.settle("unknown", 5)
    assert drain(queue)[:3] == ["a1", "a2", "b4"]


def test_a_large_item_is_passed_within_the_budget_and_then_waited_for() -> None:
    queue = FairQueue(skip_budget=1)
    fill(queue, ("first", "a", "f", I, 10), ("large", "b", "f", I, 10))
    fill(queue, *((f"c{n}", "c", "f", I, 4) for n in range(9)))
    taken = [queue.pick(0, lambda item: item.id != "large") for _ in range(5)]
    assert [item and item.id for item in taken] == ["first", "c0", "c1", None, None], (
        "8 of 10; 12 would be over"
    )
    assert queue.pick(0, lambda item: True).id == "large"  # type: ignore[union-attr]
    assert queue.pick(0, lambda item: item.id != "large").id == "c2"  # type: ignore[union-attr]


def test_without_a_budget_nobody_is_passed_over() -> None:
    queue = FairQueue(skip_budget=0)
    fill(queue, ("large", "a", "f", I, 10), ("b", "b", "f", I, 4))
    assert queue.pick(0, lambda item: item.id != "large") is None
    assert queue.pick(0, lambda item: True).id == "large"  # type: ignore[union-attr]
