"""Reading a token strictly: its shape before any key is touched, its claims after. Pure, no cryptography.

The rules follow RFC 8725 (JWT best practices) and RFC 9068 (``at+jwt``), with everything optional left out:
one algorithm, one type, three header fields, one audience, no duplicate names, one spelling of each byte.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, NoReturn

from insula.identity.subject import parse_subject

ALGORITHM = "Ed25519"
TYPE = "at+jwt"
MOST_BYTES = 8_192
LONGEST_LIFE_S = 600
SKEW_S = 5
"""How far in the future ``nbf`` and ``iat`` may lie. ``exp`` gets no grace."""

_HEADER = {"alg", "typ", "kid"}
_REQUIRED = {"iss", "aud", "tenant", "sub", "iat", "nbf", "exp", "jti", "epoch"}
_TEXTS = ("iss", "aud", "tenant", "sub", "jti")
_NUMBERS = ("iat", "nbf", "exp", "epoch")


class Refused(Exception):
    """Internal: a token failed a check. ``reason`` is a machine word from the list in docs/identity.md."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token whose shape is right. Times are seconds since the epoch."""

    iss: str
    aud: str
    tenant: str
    sub: str
    iat: int
    nbf: int
    exp: int
    jti: str
    epoch: int
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A token taken apart. Nothing in it is believed until the signature holds."""

    kid: str
    claims: Claims


def parse(token: str) -> Parsed:
    """Take ``token`` apart. Raises ``Refused``: too_large, malformed, algorithm, type, header, claims."""
    if len(token) > MOST_BYTES:
        raise Refused("too_large")
    if not token.isascii() or token.count(".") != 2:
        raise Refused("malformed")
    header, payload, signature = (_decode(part) for part in token.split("."))
    if len(signature) != 64:
        raise Refused("malformed")
    return Parsed(_kid(_object(header)), _claims(_object(payload)))


def check(claims: Claims, audience: str, now: float) -> None:
    """Check what needs no key: audience, times, tenant. Raises ``Refused``."""
    if claims.aud != audience:
        raise Refused("audience")
    if claims.nbf > now + SKEW_S or claims.iat > now + SKEW_S:
        raise Refused("not_yet_valid")
    if now >= claims.exp:
        raise Refused("expired")
    if not 0 < claims.exp - claims.iat <= LONGEST_LIFE_S:
        raise Refused("lifetime")
    named = parse_subject(claims.sub)
    if named is None or named[0] != claims.tenant:
        raise Refused("subject")


def _decode(part: str) -> bytes:
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Refused("malformed") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part.encode():
        raise Refused("malformed")
    return data


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refused("malformed") from None
    if not isinstance(value, dict):
        raise Refused("malformed")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name appears twice")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _kid(header: dict[str, Any]) -> str:
    if header.get("alg") != ALGORITHM:
        raise Refused("algorithm")
    if header.get("typ") != TYPE:
        raise Refused("type")
    if set(header) != _HEADER or not isinstance(header["kid"], str):
        raise Refused("header")
    return header["kid"]


def _claims(fields: dict[str, Any]) -> Claims:
    if not _REQUIRED <= set(fields) <= _REQUIRED | {"run"}:
        raise Refused("claims")
    texts = all(isinstance(fields[name], str) and fields[name] for name in _TEXTS)
    numbers = all(type(fields[name]) is int and fields[name] >= 0 for name in _NUMBERS)
    run = fields.get("run", "-")
    if not texts or not numbers or not isinstance(run, str) or not run:
        raise Refused("claims")
    return Claims(**fields)
