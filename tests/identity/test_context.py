"""A verified context cannot be made, copied, changed, pickled or specialised by anybody but the verifier."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import insula.identity.context as module
from insula.identity import Gateway, Storage, VerifiedContext, require
from insula.kernel.errors import Denied, IsolationBreach
from insula.kernel.ids import TenantId

if TYPE_CHECKING:
    from conftest import World

ACME, BETA = TenantId("acme"), TenantId("beta")
FIELDS = ("tenant", "subject", "run", "audience", "expires_at", "jti", "token_hash")


@pytest.fixture
def context(world: World) -> VerifiedContext[Gateway]:
    return world.authority.verifier(Gateway).verify(world.authority.mint(ACME, "agent/a", Gateway))


@pytest.mark.parametrize(
    "arguments", [(), (BETA,), (BETA, "spiffe://insula/t/beta/x", None, Gateway, 9e9, "j", "h")]
)
def test_it_cannot_be_called_into_being(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(IsolationBreach):
        VerifiedContext(*arguments)
    with pytest.raises(IsolationBreach):
        VerifiedContext[Gateway](*arguments)


def test_one_made_behind_its_back_says_nothing(context: VerifiedContext[Gateway]) -> None:
    forged: VerifiedContext[Gateway] = object.__new__(VerifiedContext)
    for field in FIELDS:
        with pytest.raises(IsolationBreach):
            getattr(forged, field)
    with pytest.raises(IsolationBreach):
        require(forged, Gateway, 0.0)
    with pytest.raises(IsolationBreach):
        repr(forged)


def test_it_has_no_place_to_write_to(context: VerifiedContext[Gateway]) -> None:
    for field in (*FIELDS, "other"):
        with pytest.raises(IsolationBreach):
            setattr(context, field, BETA)
        with pytest.raises(AttributeError):
            object.__setattr__(context, field, BETA)
        with pytest.raises(IsolationBreach):
            delattr(context, field)
    assert not hasattr(context, "__dict__")
    assert context.tenant == ACME


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps, lambda c: c.__reduce__()])
def test_it_cannot_be_copied_or_pickled(context: VerifiedContext[Gateway], duplicate: Any) -> None:
    with pytest.raises((IsolationBreach, TypeError)):
        duplicate(context)


def test_it_is_no_dataclass_to_replace(context: VerifiedContext[Gateway]) -> None:
    with pytest.raises(TypeError):
        dataclasses.replace(context, tenant=BETA)  # type: ignore[type-var]


def test_it_cannot_be_subclassed() -> None:
    with pytest.raises(TypeError):
        type("Mine", (VerifiedContext,), {})
    with pytest.raises(TypeError):

        class Mine(VerifiedContext[Gateway]):
            tenant = BETA  # type: ignore[assignment]


def test_another_class_cannot_turn_into_one() -> None:
    class Same:
        __slots__ = ("__weakref__",)

    forged = Same()
    try:
        forged.__class__ = VerifiedContext  # type: ignore[assignment]
    except TypeError:
        return
    with pytest.raises(IsolationBreach):
        require(forged, Gateway, 0.0)  # type: ignore[arg-type]


def test_what_looks_like_one_is_refused_at_a_door() -> None:
    class Lookalike:
        tenant, audience, expires_at = BETA, Gateway, 9e9

    for forged in (Lookalike(), BETA, None):
        with pytest.raises(IsolationBreach):
            require(forged, Gateway, 0.0)  # type: ignore[arg-type]


def test_the_constructor_was_given_away_once() -> None:
    with pytest.raises(IsolationBreach):
        module.claim_constructor()


def test_a_door_checks_audience_and_time(context: VerifiedContext[Gateway], world: World) -> None:
    assert require(context, Gateway, world.clock.now()) == ACME
    with pytest.raises(Denied) as other:
        require(context, Storage, world.clock.now())  # type: ignore[arg-type]
    with pytest.raises(Denied) as late:
        require(context, Gateway, context.expires_at)
    assert (other.value.details["rule"], late.value.details["rule"]) == ("audience", "expired")


def test_the_address_of_a_dead_context_means_nothing(world: World) -> None:
    """Facts die with their object: a new object at the same address does not inherit them."""
    verifier = world.authority.verifier(Gateway)
    for _ in range(200):
        context = verifier.verify(world.authority.mint(ACME, "agent/a", Gateway))
        address = id(context)
        verifier._cache.clear()
        del context
        made: list[VerifiedContext[Gateway]] = [object.__new__(VerifiedContext) for _ in range(2_000)]
        for forged in made:
            if id(forged) == address:
                with pytest.raises(IsolationBreach):
                    _ = forged.tenant
                return
    pytest.fail("the allocator never gave the address again, so nothing was tested")
