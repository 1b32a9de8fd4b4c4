"""A tenant's space opens for a verified context of that tenant, for storage, now; and for nothing else."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from insula.identity import Gateway, VerifiedContext
from insula.kernel.errors import Denied, IsolationBreach, NotFound
from insula.kernel.ids import TenantId
from insula.storage import SealedFileUnreadable
from insula.tenancy import Tier
from insula.vault import TenantSpaces
from insula.vault import spaces as module

if TYPE_CHECKING:
    from conftest import House

ACME, BETA = TenantId("acme"), TenantId("beta")


def note(house: House, tenant: str, text: str) -> None:
    space = house.spaces.open(house.context(tenant))
    space.execute("create table if not exists notes (body text)")
    space.execute("insert into notes values (?)", (text,))


def test_each_context_reaches_its_own_space_only(house: House) -> None:
    note(house, "acme", "of acme")
    note(house, "beta", "of beta")
    for tenant in ("acme", "beta"):
        rows = house.spaces.open(house.context(tenant)).execute("select body from notes")
        assert rows == [(f"of {tenant}",)]
    assert b"of acme" not in house.bytes_of("space.db")


@pytest.mark.parametrize("forged", ["acme", ACME, None, object(), b"acme", {"tenant": "acme"}])
def test_a_bare_id_opens_nothing(house: House, forged: Any) -> None:
    with pytest.raises(IsolationBreach):
        house.spaces.open(forged)
    with pytest.raises(IsolationBreach):
        house.spaces.open(object.__new__(VerifiedContext))
    assert not list((house.home / "tenants").iterdir())


def test_a_context_for_another_layer_or_of_yesterday_opens_nothing(house: House) -> None:
    gateway = house.authority.verifier(Gateway).verify(house.authority.mint(ACME, "agent/a", Gateway))
    with pytest.raises(Denied):
        house.spaces.open(gateway)  # type: ignore[arg-type]
    context = house.context("acme")
    house.spaces.open(context)
    house.clock.advance(301)
    with pytest.raises(Denied):
        house.spaces.open(context)


def test_a_tenant_without_a_key_has_no_space(house: House) -> None:
    house.registry.create(TenantId("gamma"), Tier.PRO)
    with pytest.raises(NotFound):
        house.spaces.open(house.context("gamma"))
    assert not (house.home / "tenants" / "gamma").exists()


def test_swapped_directories_are_a_breach_for_both(house: House) -> None:
    note(house, "acme", "of acme")
    note(house, "beta", "of beta")
    house.spaces.close_all()
    root = house.home / "tenants"
    shutil.move(root / "acme", root / "aside")
    shutil.move(root / "beta", root / "acme")
    shutil.move(root / "aside", root / "beta")
    for tenant in ("acme", "beta"):
        with pytest.raises(IsolationBreach):
            house.spaces.open(house.context(tenant))


def test_deletion_ends_open_handles_and_removes_the_files(house: House) -> None:
    note(house, "acme", "canary")
    context = house.context("acme")
    held = house.spaces.open(context)
    receipt = house.spaces.destroy(ACME)
    assert receipt.files_removed >= 1 and receipt.as_dict()["tenant"] == "acme"
    assert not (house.home / "tenants" / "acme").exists()
    with pytest.raises(SealedFileUnreadable):
        held.execute("select * from notes")
    with pytest.raises(NotFound):
        house.spaces.open(context)
    assert house.spaces.destroy(ACME).key == receipt.key
    with pytest.raises(NotFound):
        house.spaces.destroy(TenantId("nobody"))


def test_start_up_removes_what_a_crash_left_of_the_deleted_and_nothing_else(house: House) -> None:
    note(house, "acme", "x")
    note(house, "beta", "y")
    house.spaces.close_all()
    house.keyring.shred(ACME)  # and then the power went
    fresh = TenantSpaces(house.home / "tenants", house.keyring, house.clock)
    assert fresh.sweep() == [ACME] and fresh.sweep() == []
    assert [path.name for path in (house.home / "tenants").iterdir()] == ["beta"]


def test_forgotten_handles_stay_usable_and_few_are_kept(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 1)
    held = house.spaces.open(house.context("acme"))
    assert house.spaces.open(house.context("acme")) is held
    house.spaces.open(house.context("beta"))
    assert held.execute("select 1") == [(1,)] and len(house.spaces._recent) == 1
    house.spaces.close(ACME)
    assert held.closed, "closing reaches handles that were forgotten too"


def test_many_threads_share_one_handle(house: House) -> None:
    contexts = [house.context("acme") for _ in range(8)]
    opened: list[object] = []
    threads = [
        threading.Thread(target=lambda one=context: opened.append(house.spaces.open(one)))
        for context in contexts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8 and len(set(map(id, opened))) == 1
