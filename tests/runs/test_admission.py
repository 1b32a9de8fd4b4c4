"""Slots: bounded, fair between tenants, in order inside a tenant, never idle while somebody may go."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from insula.kernel.ids import RunId, TenantId
from insula.runs.admission import Admission
from insula.runs.gate import Gate

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
