"""Opaque credentials: hashed at rest, scoped, cut at once, silent about strangers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.identity import OPERATOR_SCOPES, SCOPES, TENANT_SCOPES, Gateway, Issued, scopes_table
from insula.kernel.errors import Denied, InvalidRequest, NotFound, Unauthenticated
from insula.kernel.ids import AgentName, AppName, TenantId

if TYPE_CHECKING:
    from conftest import World

ACME, BETA = TenantId("acme"), TenantId("beta")


def refuse(world: World, secret: str) -> None:
    with pytest.raises(Unauthenticated):
        world.credentials.resolve(secret)


def of_each_kind(world: World) -> list[Issued]:
    return [
        world.credentials.create_operator("ops"),
        world.credentials.create_tenant_token(ACME, "ci"),
        world.credentials.create_key(ACME, "app", AgentName("helper")),
    ]


def test_each_kind_resolves_to_what_it_was_made_for(world: World) -> None:
    operator, token, key = (world.credentials.resolve(one.secret) for one in of_each_kind(world))
    assert (operator.kind, operator.tenant, operator.scopes) == ("operator", None, OPERATOR_SCOPES)
    assert (token.kind, token.tenant, token.scopes) == ("tenant", ACME, TENANT_SCOPES)
    assert (key.kind, key.tenant, key.scopes, key.agent) == ("key", ACME, {"models:use"}, "helper")


def test_a_key_is_bound_to_an_application_or_an_agent(world: World) -> None:
    bound = world.credentials.create_key(ACME, "app", app=AppName("web"))
    assert world.restarted().credentials.resolve(bound.secret).app == "web"
    with pytest.raises(InvalidRequest, match="not to both") as wrong:
        world.credentials.create_key(ACME, "app", AgentName("helper"), app=AppName("web"))
    assert wrong.value.field == "app"


def test_secrets_carry_their_kind_and_are_never_shown_or_stored(world: World, tmp_path: Path) -> None:
    for one, prefix in zip(of_each_kind(world), ("ins_op_", "ins_tn_", "ins_vk_"), strict=True):
        assert one.secret.startswith(prefix) and len(one.secret) == 50
        assert one.secret not in repr(one)
        digest = hashlib.sha256(one.secret.encode()).digest()
        stored = b"".join(path.read_bytes() for path in tmp_path.glob("control.db*"))
        assert one.secret.encode() not in stored and one.secret[7:].encode() not in stored
        assert digest in stored and digest.hex() not in repr(world.credentials.list())


def test_credentials_survive_a_restart_and_so_does_a_revocation(world: World) -> None:
    kept, cut, _ = of_each_kind(world)
    world.credentials.revoke(cut.credential.id)
    restarted = world.restarted()
    assert restarted.credentials.resolve(kept.secret) == kept.credential.principal
    refuse(restarted, cut.secret)


def test_revocation_is_seen_at_once_and_repeats_quietly(world: World) -> None:
    one = world.credentials.create_key(ACME, "app")
    first = world.credentials.revoke(one.credential.id)
    world.clock.advance(5)
    assert world.credentials.revoke(one.credential.id) == first
    refuse(world, one.secret)


def test_a_credential_expires_on_the_second(world: World) -> None:
    one = world.credentials.create_key(ACME, "app", expires_at=world.clock.now() + 10)
    world.clock.advance(9.999)
    world.credentials.resolve(one.secret)
    world.clock.advance(0.001)
    refuse(world, one.secret)


def test_a_suspended_tenant_is_denied_with_the_way_out_and_a_deleted_one_unknown(world: World) -> None:
    operator, *its_own = of_each_kind(world)
    stranger = world.credentials.create_key(BETA, "other")
    world.registry.suspend(ACME)
    for one in its_own:
        with pytest.raises(Denied) as denied:
            world.credentials.resolve(one.secret)
        assert "insula tenant resume acme" in denied.value.hint
    world.registry.resume(ACME)
    for one in its_own:
        world.credentials.resolve(one.secret)
    world.registry.delete(ACME)
    for one in its_own:
        refuse(world, one.secret)
    world.credentials.resolve(operator.secret)
    world.credentials.resolve(stranger.secret)


def test_a_suspended_tenant_learns_nothing_about_a_dead_credential(world: World) -> None:
    one = world.credentials.create_key(ACME, "app")
    world.credentials.revoke(one.credential.id)
    world.registry.suspend(ACME)
    refuse(world, one.secret)


def test_a_tenant_sees_and_ends_only_its_own(world: World) -> None:
    mine, theirs = world.credentials.create_key(ACME, "mine"), world.credentials.create_key(BETA, "theirs")
    assert [one.id for one in world.credentials.list(ACME)] == [mine.credential.id]
    with pytest.raises(NotFound) as foreign:
        world.credentials.revoke(theirs.credential.id, ACME)
    with pytest.raises(NotFound) as missing:
        world.credentials.revoke("key_none", ACME)
    assert foreign.value.message.replace(theirs.credential.id, "") == missing.value.message.replace(
        "key_none", ""
    )
    world.credentials.resolve(theirs.secret)
    with pytest.raises(NotFound):
        world.credentials.create_key(TenantId("nobody"), "x")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda secret: secret + "A",
        lambda secret: secret[:-1],
        lambda secret: secret.upper(),
        lambda secret: " " + secret,
        lambda secret: secret + "\n",
        lambda secret: secret.replace("ins_vk_", "ins_op_"),
        lambda secret: secret.replace("ins_vk_", ""),
        lambda secret: hashlib.sha256(secret.encode()).hexdigest(),
        lambda _: "",
        lambda _: "\ud800",
        lambda _: "ins_op_" + "A" * 1_000_000,
    ],
)
def test_what_is_not_the_secret_to_the_letter_is_unknown(world: World, spoil: object) -> None:
    one = world.credentials.create_key(ACME, "app")
    refuse(world, spoil(one.secret))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("kind", "scope"),
    [("operator", "models:use"), ("tenant", "tenants:write"), ("tenant", "nothing"), ("tenant", None)],
)
def test_a_scope_is_carried_only_by_the_kinds_the_table_allows(
    world: World, kind: str, scope: str | None
) -> None:
    wanted = [] if scope is None else [scope]
    with pytest.raises(InvalidRequest) as refused:
        if kind == "operator":
            world.credentials.create_operator("x", wanted)
        else:
            world.credentials.create_tenant_token(ACME, "x", wanted)
    assert refused.value.field == "scopes" and world.credentials.list() == []


def test_a_principal_is_denied_what_it_does_not_carry(world: World) -> None:
    issued = world.credentials.create_tenant_token(ACME, "reader", ["runs:read"])
    principal = world.credentials.resolve(issued.secret)
    principal.require("runs:read")
    with pytest.raises(Denied) as denied:
        principal.require("runs:write")
    assert denied.value.details["rule"] == "scope:runs:write"


@pytest.mark.parametrize("name", ["", "x" * 81, "a\nb", "a\0", None, 3])
def test_a_credential_has_a_printable_name(world: World, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        world.credentials.create_key(ACME, name)
    assert refused.value.field == "name"


def test_no_credential_is_born_dead(world: World) -> None:
    with pytest.raises(InvalidRequest) as refused:
        world.credentials.create_key(ACME, "x", expires_at=world.clock.now())
    assert refused.value.field == "expires_at"


def test_the_path_of_a_principal_can_be_minted(world: World) -> None:
    for issued in of_each_kind(world)[1:]:
        who = issued.credential.principal
        token = world.authority.mint(ACME, who.path, Gateway)
        context = world.authority.verifier(Gateway).verify(token)
        assert context.subject == f"spiffe://insula/t/acme/{who.kind}/{who.id}"


def test_rights_over_the_platform_stay_with_operators() -> None:
    platform = {"tenants:write", "limits:write", "entitlements:write", "endpoints:write", "operators:write"}
    assert platform <= OPERATOR_SCOPES and not platform & TENANT_SCOPES
    assert all(f"`{name}`" in scopes_table() for name in SCOPES)


@given(st.text())
def test_no_scope_exists_but_those_of_the_table(name: str) -> None:
    from insula.identity.scopes import scopes_for

    if name in TENANT_SCOPES:
        assert scopes_for("tenant", [name]) == {name}
    else:
        with pytest.raises(InvalidRequest):
            scopes_for("tenant", [name])
