"""Slots: bounded, fair between tenants by slot time, in order, never idle while somebody may go."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from insula.governance.fairness import Lane
from insula.kernel.clock import ManualClock
from insula.kernel.ids import RunId, TenantId
from insula.runs.admission import Admission
from insula.runs.gate import Gate
from insula.runs.slot_times import SlotTimes

TENANTS = [TenantId(name) for name in "abc"]
CAPS = {TENANTS[0]: None, TENANTS[1]: 2, TENANTS[2]: 1}


class Slots(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.book = Admission(3)
        self.waiting: dict[TenantId, list[RunId]] = {tenant: [] for tenant in TENANTS}
        self.inside: dict[RunId, TenantId] = {}
        self.count = 0

    @rule(tenant=st.sampled_from(TENANTS))
    def ask(self, tenant: TenantId) -> None:
        self.count += 1
        run = RunId(f"r{self.count}")
        self.waiting[tenant].append(run)
        self.book.ask(tenant, run, CAPS[tenant])
        self.admit()

    @precondition(lambda self: self.inside)
    @rule(pick=st.randoms(use_true_random=False))
    def release(self, pick: object) -> None:
        run = pick.choice(sorted(self.inside))  # type: ignore[attr-defined]
        del self.inside[run]
        self.book.release(run)
        self.admit()

    @precondition(lambda self: any(self.waiting.values()))
    @rule(pick=st.randoms(use_true_random=False))
    def give_up(self, pick: object) -> None:
        tenant = pick.choice([t for t in TENANTS if self.waiting[t]])  # type: ignore[attr-defined]
        run = pick.choice(self.waiting[tenant])  # type: ignore[attr-defined]
        assert self.book.withdraw(tenant, run)
        assert not self.book.withdraw(tenant, run)
        self.waiting[tenant].remove(run)
        self.admit()

    def admit(self) -> None:
        for run in self.book.admit():
            tenant = next(t for t in TENANTS if run in self.waiting[t])
            assert self.waiting[tenant].pop(0) == run, "a tenant's runs go in order"
            self.inside[run] = tenant

    @invariant()
    def bounded(self) -> None:
        held = Counter(self.inside.values())
        assert len(self.inside) == self.book.held <= self.book.slots
        assert all(CAPS[t] is None or held[t] <= CAPS[t] for t in TENANTS)

    @invariant()
    def never_idle(self) -> None:
        held = Counter(self.inside.values())
        ready = [t for t in TENANTS if self.waiting[t] and (CAPS[t] is None or held[t] < CAPS[t])]
        assert not ready or len(self.inside) == self.book.slots


TestSlots = Slots.TestCase
TestSlots.settings = settings(max_examples=60, stateful_step_count=40)


@given(st.integers(1, 5), st.integers(2, 6), st.integers(1, 60), st.data())
def test_between_two_that_both_wait_the_difference_is_one(
    slots: int, tenants: int, steps: int, data: st.DataObject
) -> None:
    book, got, inside = Admission(slots), Counter[int](), []
    for tenant in range(tenants):
        for run in range(steps + slots + 1):
            book.ask(TenantId(f"t{tenant}"), RunId(f"{tenant}/{run}"), None)
    for _ in range(steps):
        for run in book.admit():
            inside.append(run)
            got[int(run.split("/")[0])] += 1
        counts = [got[tenant] for tenant in range(tenants)]
        assert max(counts) - min(counts) <= 1
        book.release(inside.pop(data.draw(st.integers(0, len(inside) - 1))))


def test_slot_time_is_shared_not_the_number_of_runs() -> None:
    """Runs of ``b`` take three times as long as those of ``a``, and neither was estimated so."""
    book, got = Admission(1), Counter[str]()
    for tenant, number in ((tenant, number) for number in range(60) for tenant in "ab"):
        book.ask(TenantId(tenant), RunId(f"{tenant}/{number}"), None, cost=10)
    for _ in range(60):
        (run,) = book.admit()
        got[run[0]] += 1
        book.release(run, 10 if run[0] == "a" else 30)
    assert got == {"a": 45, "b": 15}


def test_a_tenant_at_its_cap_earns_no_claim_meanwhile() -> None:
    book = Admission(2)
    for number in range(20):
        book.ask(TENANTS[0], RunId(f"a/{number}"), 1)
        book.ask(TENANTS[1], RunId(f"b/{number}"), None)
    assert book.admit() == ["a/0", "b/0"]
    for number in range(9):
        book.release(RunId(f"b/{number}"))
        assert book.admit() == [f"b/{number + 1}"], "a may have one, and has it"
    book.release(RunId("a/0"))
    assert book.admit() == ["a/1"]
    book.release(RunId("b/9"))
    assert book.admit() == ["b/10"]


def test_agents_of_a_tenant_share_what_it_has() -> None:
    book = Admission(1)
    for agent in ("busy", "busy", "busy", "quiet"):
        number = book.waiting(TENANTS[0])
        book.ask(TENANTS[0], RunId(f"{agent}/{number}"), None, flow=agent)
    order = []
    for _ in range(4):
        order += book.admit()
        book.release(order[-1])
    assert order == ["busy/0", "quiet/3", "busy/1", "busy/2"]


def test_interactive_runs_go_before_batch_runs_of_their_tenant_and_of_no_other() -> None:
    book = Admission(1)
    a, b = TENANTS[:2]
    book.ask(a, RunId("a/batch"), None, lane=Lane.BATCH)
    book.ask(b, RunId("b/batch"), None, lane=Lane.BATCH)
    for number in range(2):
        book.ask(a, RunId(f"a/{number}"), None)
    order = []
    for _ in range(4):
        order += book.admit()
        book.release(order[-1])
    assert order == ["a/0", "b/batch", "a/1", "a/batch"]


def test_the_gate_goes_by_weight_and_learns_how_long_runs_take() -> None:
    async def main() -> list[str]:
        clock, order = ManualClock(), []
        gate = Gate(1, weight=lambda tenant: 3 if tenant == "b" else 1, clock=clock)
        never = asyncio.Event()

        async def run(tenant: TenantId, number: int) -> None:
            async with gate.slot(tenant, RunId(f"{tenant}/{number}"), None, never) as admitted:
                assert admitted
                order.append(tenant)
                await asyncio.sleep(0)
                clock.advance(1)

        async with asyncio.TaskGroup() as group:
            for number in range(12):
                for tenant in TENANTS[:2]:
                    group.create_task(run(tenant, number))
        return order

    order = asyncio.run(main())
    assert Counter(order[4:12]) == {"a": 2, "b": 6}


def test_slot_times_go_a_quarter_of_the_way() -> None:
    times = SlotTimes()
    assert times.expect_us("t", "a") == 5_000_000
    times.learn("t", "a", 8)
    assert times.expect_us("t", "a") == 8
    times.learn("t", "a", 80)
    assert times.expect_us("t", "a") == 26
    assert times.expect_us("t", "b") == 5_000_000


def test_a_waiter_that_is_cancelled_as_it_is_granted_gives_the_slot_back() -> None:
    async def main() -> None:
        gate, never = Gate(1), asyncio.Event()
        release = asyncio.Event()

        async def hold(name: str) -> None:
            async with gate.slot(TENANTS[0], RunId(name), None, never) as admitted:
                assert admitted
                await release.wait()

        first = asyncio.create_task(hold("1"))
        await asyncio.sleep(0)
        second = asyncio.create_task(hold("2"))
        await asyncio.sleep(0)
        release.set()
        await first
        second.cancel()  # its ticket was handed out in this very turn
        await asyncio.gather(second, return_exceptions=True)
        assert gate.held == 0 and gate.waiting(TENANTS[0]) == 0
        async with asyncio.timeout(1):
            await hold("3")

    asyncio.run(main())


def test_who_gives_up_is_not_admitted_and_a_shut_gate_admits_nobody() -> None:
    async def main() -> None:
        gate, given_up = Gate(1), asyncio.Event()
        gate.shut()
        asyncio.get_running_loop().call_later(0.01, given_up.set)
        async with gate.slot(TENANTS[0], RunId("1"), None, given_up) as admitted:
            assert not admitted
        assert gate.held == 0

    asyncio.run(main())
