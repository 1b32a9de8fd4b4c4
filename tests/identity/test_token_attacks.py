"""The attack list on tokens: each is refused for its reason, changes nothing, and leaves an audit record."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import OKPKey

from insula.identity import Gateway, Runs, Storage, VerifiedContext
from insula.kernel.errors import Unauthenticated
from insula.kernel.ids import TenantId

if TYPE_CHECKING:
    from conftest import World

ACME, BETA = TenantId("acme"), TenantId("beta")
Forge = Callable[["World"], str]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes: Any) -> Forge:
    """Acme's own, validly signed token but for these claims."""
    return lambda world: world.sign(world.header(), world.claims(**changes))


def header(**changes: Any) -> Forge:
    """Acme's own, validly signed token but for these header fields."""
    return lambda world: world.sign(world.header(**changes), world.claims())


def later(**offsets: int) -> Forge:
    def forge(world: World) -> str:
        now = int(world.clock.now())
        return world.sign(world.header(), world.claims(**{name: now + by for name, by in offsets.items()}))

    return forge


def unsigned(world: World) -> str:
    parts = world.sign(world.header(alg="none"), world.claims()).split(".")
    return f"{parts[0]}.{parts[1]}."


def hmac_with_public_key(world: World) -> str:
    kid, key = world.keys.signing(ACME)
    head = b64(json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": kid}).encode())
    message = f"{head}.{b64(json.dumps(world.claims()).encode())}"
    public = base64.urlsafe_b64decode(key.as_dict(private=False)["x"] + "=")
    return f"{message}.{b64(hmac.new(public, message.encode(), hashlib.sha256).digest())}"


def acmes_key_in_betas_name(world: World) -> str:
    return world.sign(world.header(), world.claims(BETA))


def acmes_key_with_betas_kid(world: World) -> str:
    return world.sign(world.header(BETA), world.claims(BETA))


def betas_issuer_acmes_tenant(world: World) -> str:
    return world.sign(world.header(), world.claims(iss="insula://t/beta"))


def embedded_key(world: World) -> str:
    mine = OKPKey.generate_key("Ed25519")
    jwk = mine.as_dict(private=False)
    return world.sign(world.header(jwk=jwk), world.claims(), mine)


def another_key(world: World) -> str:
    return world.sign(world.header(), world.claims(), OKPKey.generate_key("Ed25519"))


def duplicate_claim(world: World) -> str:
    body = json.dumps(world.claims())
    return world.sign(world.header(), (body[:-1] + ', "tenant": "beta"}').encode())


def duplicate_claim_escaped(world: World) -> str:
    body = json.dumps(world.claims())
    return world.sign(world.header(), (body[:-1] + ', "\\u0074enant": "beta"}').encode())


def duplicate_header(world: World) -> str:
    head = json.dumps(world.header())
    return world.sign((head[:-1] + ', "alg": "none"}').encode(), world.claims())


def edited_payload(world: World) -> str:
    head, _, signature = world.sign(world.header(), world.claims()).split(".")
    return f"{head}.{b64(json.dumps(world.claims(jti='other')).encode())}.{signature}"


def respelled(world: World) -> str:
    """The same signature bytes in another base64 spelling: the unused bits of the last digit are set."""
    token = world.sign(world.header(), world.claims())
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + digits[digits.index(token[-1]) + 1]


def revoked(world: World) -> str:
    world.authority.revoke("j1")
    return world.sign(world.header(), world.claims())


def of_suspended(world: World) -> str:
    token = world.authority.mint(ACME, "agent/a", Gateway)
    world.registry.suspend(ACME)
    return token


def of_suspended_and_resumed(world: World) -> str:
    token = of_suspended(world)
    world.registry.resume(ACME)
    return token


def of_deleted(world: World) -> str:
    token = world.authority.mint(ACME, "agent/a", Gateway)
    world.registry.delete(ACME)
    return token


def of_long_rotated_key(world: World) -> str:
    kid, key = world.keys.signing(ACME)
    world.keys.rotate(ACME)
    world.clock.advance(601)
    return world.sign(world.header(kid=kid), world.claims(), key)


def padded(world: World) -> str:
    return world.authority.mint(ACME, "agent/a", Gateway) + "="


ATTACKS: dict[str, tuple[str, Forge]] = {
    "foreign audience": ("audience", claims(aud="insula:storage")),
    "list of audiences": ("claims", claims(aud=["insula:gateway"])),
    "two audiences": ("claims", claims(aud=["insula:gateway", "insula:storage"])),
    "no audience": ("claims", claims(aud=...)),
    "audience with a trailing slash": ("audience", claims(aud="insula:gateway/")),
    "tenant missing": ("claims", claims(tenant=...)),
    "tenant empty": ("claims", claims(tenant="")),
    "tenant null": ("claims", claims(tenant=None)),
    "tenant a list": ("claims", claims(tenant=["acme"])),
    "tenant an object": ("claims", claims(tenant={"id": "acme"})),
    "tenant not its issuer's": ("issuer", claims(tenant="beta")),
    "tenant in capitals": ("issuer", claims(tenant="ACME")),
    "subject of another tenant": ("subject", claims(sub="spiffe://insula/t/beta/agent/a")),
    "subject climbing": ("subject", claims(sub="spiffe://insula/t/acme/../beta/agent/a")),
    "subject without a path": ("subject", claims(sub="spiffe://insula/t/acme")),
    "subject elsewhere": ("subject", claims(sub="spiffe://other/t/acme/agent/a")),
    "issuer of another tenant": ("issuer", betas_issuer_acmes_tenant),
    "issuer with a trailing slash": ("issuer", claims(iss="insula://t/acme/")),
    "acme's key in beta's name": ("key", acmes_key_in_betas_name),
    "acme's key under beta's kid": ("signature", acmes_key_with_betas_kid),
    "a key of nobody's": ("signature", another_key),
    "alg none": ("malformed", unsigned),
    "alg none, any signature": ("algorithm", header(alg="none")),
    "alg HS256 with the public key": ("malformed", hmac_with_public_key),
    "alg HS256, long signature": ("algorithm", header(alg="HS256")),
    "alg EdDSA, the wide name": ("algorithm", header(alg="EdDSA")),
    "alg missing": ("algorithm", header(alg=...)),
    "alg a list": ("algorithm", header(alg=["Ed25519"])),
    "typ missing": ("type", header(typ=...)),
    "typ JWT": ("type", header(typ="JWT")),
    "typ of an identity assertion": ("type", header(typ="oauth-id-jag+jwt")),
    "kid climbing": ("key", header(kid="../../beta/keys/1")),
    "kid of SQL": ("key", header(kid="' OR 1=1 --")),
    "kid missing": ("header", header(kid=...)),
    "kid a number": ("header", header(kid=1)),
    "jku header": ("header", header(jku="http://127.0.0.1/keys")),
    "x5u header": ("header", header(x5u="http://127.0.0.1/cert")),
    "jwk header": ("header", embedded_key),
    "crit header": ("header", header(crit=["exp"])),
    "b64 header": ("header", header(b64=False)),
    "expired by a minute": ("expired", later(iat=-361, nbf=-361, exp=-61)),
    "expired this second": ("expired", later(iat=-300, nbf=-300, exp=0)),
    "not before tomorrow": ("not_yet_valid", later(nbf=86_400)),
    "issued tomorrow": ("not_yet_valid", later(iat=86_400, exp=86_700)),
    "living too long": ("lifetime", later(exp=601)),
    "ending before it began": ("lifetime", later(iat=4, exp=3)),
    "exp missing": ("claims", claims(exp=...)),
    "exp a text": ("claims", claims(exp="9999999999")),
    "exp a fraction": ("claims", claims(exp=9999999999.5)),
    "exp true": ("claims", claims(exp=True)),
    "exp infinite": ("malformed", claims(exp=float("inf"))),
    "jti missing": ("claims", claims(jti=...)),
    "epoch missing": ("claims", claims(epoch=...)),
    "epoch of before": ("epoch", claims(epoch=0)),
    "epoch to come": ("epoch", claims(epoch=2)),
    "a claim too many": ("claims", claims(admin=True)),
    "run empty": ("claims", claims(run="")),
    "run null": ("claims", claims(run=None)),
    "duplicate claim": ("malformed", duplicate_claim),
    "duplicate claim, escaped": ("malformed", duplicate_claim_escaped),
    "duplicate header": ("malformed", duplicate_header),
    "edited payload": ("signature", edited_payload),
    "respelled signature": ("malformed", respelled),
    "revoked": ("revoked", revoked),
    "suspended tenant": ("suspended", of_suspended),
    "suspended and resumed since": ("epoch", of_suspended_and_resumed),
    "deleted tenant": ("deleted", of_deleted),
    "tenant that never was": ("key", claims(tenant="gone", iss="insula://t/gone")),
    "key rotated out long ago": ("key", of_long_rotated_key),
    "a megabyte": ("too_large", lambda _: "a" * 1_000_000),
    "a megabyte of claims": ("too_large", claims(jti="j" * 1_000_000)),
    "deep nesting": ("malformed", lambda world: world.sign(world.header(), b"[" * 5_000)),
    "padded": ("malformed", padded),
    "empty": ("malformed", lambda _: ""),
    "two parts": ("malformed", lambda _: "a.b"),
    "five parts": ("malformed", lambda _: "a.b.c.d.e"),
    "not ascii": ("malformed", lambda _: "é.é.é"),
    "lone surrogate": ("malformed", lambda _: "\ud800.a.b"),
    "payload a list": ("malformed", lambda world: world.sign(world.header(), b"[1]")),
    "payload not utf-8": ("malformed", lambda world: world.sign(world.header(), b'{"a":"\xff"}')),
    "a nul inside": ("malformed", lambda _: "a\0.b.c"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_attack_is_refused_for_its_reason_and_recorded(world: World, name: str, tmp_path: Path) -> None:
    reason, forge = ATTACKS[name]
    token = forge(world)
    verifier = world.authority.verifier(Gateway)
    before = content(tmp_path)
    with pytest.raises(Unauthenticated) as refused:
        verifier.verify(token)
    assert refused.value.details == {"reason": reason}
    assert content(tmp_path) == before, "a refusal changes nothing"
    assert world.refusals() == [reason]
    assert len(token) < 20 or token[:200] not in (tmp_path / "audit" / "platform.jsonl").read_text()


def content(home: Path) -> dict[str, list[Any]]:
    """Every row of the control database but the audit's own anchor."""
    with sqlite3.connect(home / "control.db") as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        return {
            table: connection.execute(f"select * from {table}").fetchall()
            for table in tables
            if table != "chain_heads"
        }


def test_the_untouched_token_is_accepted(world: World) -> None:
    """The control of every case above."""
    context = world.authority.verifier(Gateway).verify(world.sign(world.header(), world.claims()))
    assert (context.tenant, context.audience, context.run) == (ACME, Gateway, None)
    assert world.refusals() == []


def test_a_right_token_of_beta_is_refused_on_acmes_route(world: World) -> None:
    token = world.authority.mint(BETA, "agent/b", Gateway)
    assert world.authority.verifier(Gateway).verify(token).tenant == BETA
    with pytest.raises(Unauthenticated) as refused:
        world.authority.verifier(Gateway, tenant=ACME).verify(token)
    assert refused.value.details["reason"] == "route"
    assert world.refusals() == ["route"]


@pytest.mark.parametrize("audience", [Runs, Storage])
def test_a_token_opens_one_layer_only(world: World, audience: type[Runs | Storage]) -> None:
    token = world.authority.mint(ACME, "agent/a", Gateway)
    with pytest.raises(Unauthenticated):
        world.authority.verifier(audience).verify(token)


def test_the_refused_text_never_reaches_the_log(world: World) -> None:
    """A forger cannot write his own words (or another tenant's name as a fact) into the audit."""
    token = world.sign(world.header(), world.claims(tenant='x","outcome":"ok'))
    with pytest.raises(Unauthenticated):
        world.authority.verifier(Gateway).verify(token)
    (record,) = world.log.read("platform")
    assert record.details["claimed"] is None and record.outcome == "refused"


MUTATION = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@MUTATION
@given(st.data())
def test_any_changed_character_makes_a_token_worthless(world: World, data: st.DataObject) -> None:
    token = world.authority.mint(ACME, "agent/a", Gateway)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda char: char != token[at]))
    with pytest.raises(Unauthenticated):
        world.authority.verifier(Gateway).verify(token[:at] + other + token[at + 1 :])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@MUTATION
@given(
    st.sampled_from(["iss", "aud", "tenant", "sub", "exp", "iat", "nbf", "epoch", "jti", "run", "new"]), JSON
)
def test_no_value_of_any_claim_yields_another_tenants_context(world: World, claim: str, value: Any) -> None:
    """Even a stolen acme key signs for acme alone, whatever stands in the claims."""
    token = world.sign(world.header(), world.claims(**{claim: value}))
    try:
        context: VerifiedContext[Gateway] = world.authority.verifier(Gateway).verify(token)
    except Unauthenticated:
        return
    assert context.tenant == ACME and context.subject.startswith("spiffe://insula/t/acme/")
    assert context.expires_at <= world.clock.now() + 600 + 5


@MUTATION
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_noise_is_refused_cleanly(world: World, noise: str) -> None:
    with pytest.raises(Unauthenticated):
        world.authority.verifier(Gateway).verify(noise)
