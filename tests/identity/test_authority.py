"""Minting, the cache, exchange, revocation, rotation: what holds over time and over restarts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from joserfc import jws

from insula.identity import Gateway, RenewingToken, Runs, Storage, VerifiedContext
from insula.identity.verifier import CACHE_ENTRIES, CACHE_S
from insula.kernel.errors import Denied, InvalidRequest, Unauthenticated
from insula.kernel.ids import RunId, TenantId

if TYPE_CHECKING:
    from conftest import World

ACME, BETA = TenantId("acme"), TenantId("beta")
RUN = RunId("run_01k00000000000000000000000")


def reason(world: World, token: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        world.authority.verifier(Gateway).verify(token)
    return str(refused.value.details["reason"])


def test_a_minted_token_says_exactly_this(world: World) -> None:
    token = world.authority.mint(ACME, f"agent/helper/run/{RUN}", Runs, run=RUN, ttl_s=60)
    claims = json.loads(jws.deserialize_compact(token, world.keys.signing(ACME)[1], ["Ed25519"]).payload)
    now = int(world.clock.now())
    assert claims.pop("jti")
    assert claims == {
        "iss": "insula://t/acme",
        "aud": "insula:runs",
        "tenant": "acme",
        "sub": f"spiffe://insula/t/acme/agent/helper/run/{RUN}",
        "run": RUN,
        "iat": now,
        "nbf": now,
        "exp": now + 60,
        "epoch": 1,
    }
    context = world.authority.verifier(Runs).verify(token)
    assert (context.tenant, context.run, context.expires_at) == (ACME, RUN, now + 60)


@pytest.mark.parametrize(
    "path", ["", "/", "a//b", "../beta/x", "a/..", "a b", "a/ü", "a" * 600, "a?b", "a#b", "a%2fb"]
)
def test_a_malformed_path_is_never_signed(world: World, path: str) -> None:
    with pytest.raises(InvalidRequest):
        world.authority.mint(ACME, path, Gateway)


@pytest.mark.parametrize("ttl_s", [0, -1, 601, 1e9])
def test_no_token_lives_longer_than_ten_minutes(world: World, ttl_s: float) -> None:
    with pytest.raises(InvalidRequest):
        world.authority.mint(ACME, "agent/a", Gateway, ttl_s=ttl_s)


def test_tenants_have_keys_of_their_own(world: World) -> None:
    assert world.keys.signing(ACME) == world.keys.signing(ACME)
    assert world.keys.signing(ACME)[0] != world.keys.signing(BETA)[0]
    assert world.keys.public(BETA, world.keys.signing(ACME)[0]) is None


def test_private_keys_lie_sealed(world: World, tmp_path: Path) -> None:
    raw = world.keys.signing(ACME)[1].get_op_key("sign").private_bytes_raw()  # type: ignore[union-attr]
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("control.db*"))
    assert raw not in stored and raw.hex().encode() not in stored


def test_suspension_cuts_a_cached_token_at_once(world: World) -> None:
    verifier = world.authority.verifier(Gateway)
    token = world.authority.mint(ACME, "agent/a", Gateway)
    assert verifier.verify(token) is verifier.verify(token), "the second is the cached one"
    world.registry.suspend(ACME)
    with pytest.raises(Unauthenticated):
        verifier.verify(token)
    with pytest.raises(Denied):
        world.authority.mint(ACME, "agent/a", Gateway)
    world.registry.resume(ACME)
    with pytest.raises(Unauthenticated):
        verifier.verify(token)
    assert world.refusals() == ["suspended", "epoch"]


def test_deletion_and_revocation_cut_cached_tokens_at_once(world: World) -> None:
    verifier = world.authority.verifier(Gateway)
    first, second = (world.authority.mint(tenant, "agent/a", Gateway) for tenant in (ACME, BETA))
    context = verifier.verify(first)
    verifier.verify(second)
    world.authority.revoke(context.jti)
    world.registry.delete(BETA)
    for token in (first, second):
        with pytest.raises(Unauthenticated):
            verifier.verify(token)
    assert world.refusals() == ["revoked", "deleted"]


def test_a_cached_token_expires_on_the_second(world: World) -> None:
    verifier = world.authority.verifier(Gateway)
    token = world.authority.mint(ACME, "agent/a", Gateway, ttl_s=10)
    expires = verifier.verify(token).expires_at
    world.clock.advance(expires - world.clock.now() - 0.001)
    verifier.verify(token)
    world.clock.advance(0.001)
    with pytest.raises(Unauthenticated):
        verifier.verify(token)


def test_the_cache_forgets_after_a_minute_and_stays_bounded(world: World) -> None:
    verifier = world.authority.verifier(Gateway)
    token = world.authority.mint(ACME, "agent/a", Gateway)
    first = verifier.verify(token)
    world.clock.advance(CACHE_S)
    assert verifier.verify(token) is not first
    filler = next(iter(verifier._cache.values()))
    verifier._cache.update({number.to_bytes(32, "big"): filler for number in range(CACHE_ENTRIES + 5)})
    verifier.verify(world.authority.mint(ACME, "agent/a", Gateway))
    assert len(verifier._cache) == CACHE_ENTRIES


def test_the_cache_holds_no_token(world: World) -> None:
    verifier = world.authority.verifier(Gateway)
    token = world.authority.mint(ACME, "agent/a", Gateway)
    verifier.verify(token)
    assert token not in repr(verifier._cache) and token.encode() not in set(verifier._cache)


def test_refused_tokens_are_not_remembered(world: World) -> None:
    verifier = world.authority.verifier(Gateway)
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            verifier.verify("a.b.c")
    assert verifier._cache == {} and len(world.refusals()) == 3


def test_revocation_survives_a_restart_as_long_as_the_token_could_live(world: World) -> None:
    token = world.authority.mint(ACME, "agent/a", Gateway, ttl_s=600)
    world.authority.revoke(world.authority.verifier(Gateway).verify(token).jti)
    restarted = world.restarted()
    assert reason(restarted, token) == "revoked"
    world.clock.advance(601)
    assert reason(world.restarted(), token) == "expired"


def test_a_token_outlives_a_restart(world: World) -> None:
    token = world.authority.mint(ACME, "agent/a", Gateway)
    assert world.restarted().authority.verifier(Gateway).verify(token).tenant == ACME


def test_rotation_keeps_what_was_signed_until_it_expires(world: World) -> None:
    old_kid, token = world.keys.signing(ACME)[0], world.authority.mint(ACME, "agent/a", Gateway)
    assert world.keys.rotate(ACME) == world.keys.signing(ACME)[0] != old_kid
    for view in (world, world.restarted()):
        assert view.authority.verifier(Gateway).verify(token).tenant == ACME
        assert view.keys.signing(ACME)[0] != old_kid


def test_destroyed_keys_are_gone_after_a_restart_too(world: World) -> None:
    token = world.authority.mint(ACME, "agent/a", Gateway)
    world.keys.destroy(ACME)
    assert reason(world, token) == "key"
    assert reason(world.restarted(), token) == "key"


def context_of(world: World, ttl_s: float = 300) -> VerifiedContext[Runs]:
    token = world.authority.mint(ACME, "agent/a", Runs, run=RUN, ttl_s=ttl_s)
    return world.authority.verifier(Runs).verify(token)


def test_an_exchange_changes_the_audience_and_nothing_else(world: World) -> None:
    before = context_of(world)
    after = world.authority.verifier(Storage).verify(world.authority.exchange(before, Storage, ttl_s=600))
    assert (after.tenant, after.subject, after.run) == (before.tenant, before.subject, before.run)
    assert after.audience is Storage and after.expires_at <= before.expires_at


def test_what_may_not_act_may_not_exchange(world: World) -> None:
    expired, cut, suspended = context_of(world, ttl_s=5), context_of(world), context_of(world)
    world.clock.advance(5)
    world.authority.revoke(cut.jti)
    for context in (expired, cut):
        with pytest.raises(Unauthenticated):
            world.authority.exchange(context, Storage)
    world.registry.suspend(ACME)
    with pytest.raises(Denied):
        world.authority.exchange(suspended, Storage)
    assert world.refusals() == ["expired", "revoked"]


def test_a_context_of_before_a_suspension_cannot_be_exchanged_after_it(world: World) -> None:
    context = context_of(world)
    world.registry.suspend(ACME)
    world.registry.resume(ACME)
    with pytest.raises(Unauthenticated):
        world.authority.exchange(context, Storage)


def test_a_renewing_token_is_always_at_least_half_fresh(world: World) -> None:
    token = RenewingToken(world.authority, world.clock, ACME, "agent/a", Gateway, run=RUN, ttl_s=300)
    verifier = world.authority.verifier(Gateway)
    seen = set()
    for _ in range(40):
        context = verifier.verify(token())
        seen.add(context.jti)
        assert context.expires_at - world.clock.now() >= 149
        world.clock.advance(29)
    assert len(seen) < 10 and token() not in repr(token)


def test_a_renewing_token_of_a_suspended_and_resumed_tenant_works_again(world: World) -> None:
    token = RenewingToken(world.authority, world.clock, ACME, "agent/a", Gateway)
    old = token()
    world.registry.suspend(ACME)
    with pytest.raises(Denied):
        token()
    world.registry.resume(ACME)
    assert world.authority.verifier(Gateway).verify(token()).tenant == ACME
    assert token() != old


def test_the_operator_may_look_at_a_suspended_tenant_and_nobody_may_at_a_deleted_one(world: World) -> None:
    world.registry.suspend(ACME)
    token = world.authority.mint(ACME, "operator/opr_1", Storage)
    assert world.authority.verifier(Storage).verify(token).tenant == ACME
    for path in ("agent/operator", "token/operator", "key/operator/x"):
        with pytest.raises(Denied):
            world.authority.mint(ACME, path, Storage)
    world.registry.delete(ACME)
    with pytest.raises(Denied):
        world.authority.mint(ACME, "operator/opr_1", Storage)
    with pytest.raises(Unauthenticated):
        world.authority.verifier(Storage).verify(token)
