"""The registry on its real database: durable, read from memory, never giving an id twice."""

from __future__ import annotations

import contextlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.kernel.clock import ManualClock
from insula.kernel.errors import AlreadyExists, ConflictError, InvalidRequest, NotFound
from insula.kernel.ids import AgentName, TenantId, tenant_id
from insula.storage import ControlDatabase
from insula.tenancy import Agent, Rung, Tenant, TenantState, Tier, Trust
from insula.tenancy.adapters.sql import SqlRegistry

ACME, BETA = TenantId("acme"), TenantId("beta")


def again(control: ControlDatabase) -> SqlRegistry:
    return SqlRegistry(control, Trust.INTERNAL, ManualClock())


def agent(tenant: TenantId, name: str = "helper") -> Agent:
    return Agent(
        tenant, AgentName(name), "sha256:1", "python", ("m1",), {"timeout_s": 5}, 1.0, {"name": name}
    )


def test_what_was_written_is_there_after_a_restart(registry: SqlRegistry, control: ControlDatabase) -> None:
    made = registry.create(ACME, Tier.PRO, {"compute": "gvisor", "memory_mib": 64})
    registry.put_agent(agent(ACME))
    other = again(control)
    assert other.get(ACME) == made
    assert other.get_agent(ACME, AgentName("helper")) == agent(ACME)
    assert other.profile(ACME).compute_floor is Rung.GVISOR


def test_a_deleted_id_is_never_given_again(registry: SqlRegistry, control: ControlDatabase) -> None:
    registry.create(ACME, Tier.FREE)
    registry.put_agent(agent(ACME))
    registry.delete(ACME)
    for view in (registry, again(control)):
        with pytest.raises(AlreadyExists):
            view.create(ACME, Tier.FREE)
        with pytest.raises(NotFound):
            view.get(ACME)
        with pytest.raises(NotFound):
            view.get_agent(ACME, AgentName("helper"))
        with pytest.raises(NotFound):
            view.resume(ACME)
        assert view.list().items == () and list(view.deleted()) == [ACME]
        assert view.standing(ACME) == (TenantState.DELETED, 2)


def test_every_turn_of_state_raises_the_epoch_and_repeating_one_does_not(registry: SqlRegistry) -> None:
    registry.create(ACME, Tier.FREE)
    assert registry.suspend(ACME).epoch == 2
    assert registry.suspend(ACME).epoch == 2
    assert registry.resume(ACME).epoch == 3
    assert registry.set_tier(ACME, Tier.PRO).epoch == 3
    assert registry.delete(ACME).epoch == 4


def test_a_refused_change_changes_nothing(registry: SqlRegistry, control: ControlDatabase) -> None:
    registry.create(ACME, Tier.FREE)
    with pytest.raises(InvalidRequest, match="bubblewrap"):
        registry.set_tier(ACME, Tier.ENTERPRISE, {"compute": "bubblewrap"})
    assert registry.get(ACME).tier is again(control).get(ACME).tier is Tier.FREE


def test_a_new_tier_must_suit_the_overrides_that_stay(registry: SqlRegistry) -> None:
    registry.create(ACME, Tier.FREE, {"pool": "own"})
    with pytest.raises(InvalidRequest) as refused:
        registry.set_tier(ACME, Tier.DEDICATED)
    assert refused.value.field == "pool"
    assert registry.set_tier(ACME, Tier.DEDICATED, {}).overrides == {}
    assert registry.profile(ACME).pool == "own-nodes"


def test_subscribers_hear_of_each_change_even_beside_one_that_fails(registry: SqlRegistry) -> None:
    heard: list[Tenant] = []

    def failing(_tenant: Tenant) -> None:
        raise ValueError("no")

    registry.subscribe(failing)
    registry.subscribe(heard.append)
    registry.create(ACME, Tier.FREE)
    registry.suspend(ACME)
    assert [tenant.state for tenant in heard] == [TenantState.ACTIVE, TenantState.SUSPENDED]


def test_pages_list_every_tenant_once_in_order(registry: SqlRegistry) -> None:
    names = [TenantId(f"t{number}") for number in (3, 1, 4, 5, 9, 2, 6)]
    for name in names:
        registry.create(name, Tier.FREE)
    seen, cursor = [], None
    while True:
        page = registry.list(cursor, 3)
        seen += [tenant.id for tenant in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == sorted(names)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_bounds(registry: SqlRegistry, limit: int) -> None:
    with pytest.raises(InvalidRequest):
        registry.list(None, limit)


@pytest.mark.parametrize(
    "name", ["platform", "", "A", "a/b", "..", "a.b", "-a", "a-", "a" * 49, "é", "a\n", None, 3]
)
def test_a_bad_or_reserved_id_is_refused(registry: SqlRegistry, name: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        registry.create(name, Tier.FREE)  # type: ignore[arg-type]
    assert refused.value.field == "tenant"


def test_agents_of_one_tenant_are_not_those_of_another(registry: SqlRegistry) -> None:
    for tenant in (ACME, BETA):
        registry.create(tenant, Tier.FREE)
    registry.put_agent(agent(ACME))
    assert registry.list_agents(BETA) == []
    with pytest.raises(NotFound):
        registry.get_agent(BETA, AgentName("helper"))


def test_a_suspended_tenant_deploys_nothing(registry: SqlRegistry) -> None:
    registry.create(ACME, Tier.FREE)
    registry.suspend(ACME)
    with pytest.raises(ConflictError):
        registry.put_agent(agent(ACME))


def test_of_many_creators_of_one_id_exactly_one_wins(registry: SqlRegistry) -> None:
    won: list[Tenant] = []

    def create() -> None:
        with contextlib.suppress(AlreadyExists):
            won.append(registry.create(ACME, Tier.FREE))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


@given(st.text(max_size=12), st.text(max_size=12))
def test_ids_map_to_themselves_so_two_never_meet(one: str, other: str) -> None:
    """A path, a claim and a key hold the id unfolded: equal only if the ids are equal, on any file system."""
    try:
        first, second = tenant_id(one), tenant_id(other)
    except InvalidRequest:
        return
    assert (first == second) == (one == other) == (first.casefold() == second.casefold())
    assert "/" not in first and "." not in first
