"""Identifiers: what a tenant, agent or model may be called, and how the platform mints its own.

A name is used as it is in paths, claims and keys. Nothing folds or escapes it, so two different
names can never meet in one directory, issuer or namespace (the map is the identity: injective).
"""

from __future__ import annotations

import re
from typing import NewType

from insula.kernel.clock import Clock
from insula.kernel.entropy import token_bytes
from insula.kernel.errors import InvalidRequest

TenantId = NewType("TenantId", str)
AppName = NewType("AppName", str)
AgentName = NewType("AgentName", str)
RunId = NewType("RunId", str)

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
_MINTED = re.compile(r"[a-z]{3}_[0-9abcdefghjkmnpqrstvwxyz]{26}")
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in _CROCKFORD for low in _CROCKFORD]
_FORTY_BITS = (1 << 40) - 1
_RULE = "1 to 48 of a-z, 0-9 and '-', beginning and ending with a letter or digit"


def _label(value: object, what: str) -> str:
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        shown = repr(value)[:60]
        raise InvalidRequest(f"{what} {shown} is not a valid name", hint=f"use {_RULE}", field=what)
    return value


def tenant_id(value: object) -> TenantId:
    """Return ``value`` as a tenant id. Raises ``InvalidRequest`` naming the rule."""
    return TenantId(_label(value, "tenant"))


def app_name(value: object) -> AppName:
    """Return ``value`` as an application's name. Raises ``InvalidRequest`` naming the rule."""
    return AppName(_label(value, "app"))


def agent_name(value: object) -> AgentName:
    """Return ``value`` as an agent name. Raises ``InvalidRequest`` naming the rule."""
    return AgentName(_label(value, "agent"))


def mint(prefix: str, clock: Clock) -> str:
    """Return a new id: three letters, ``_``, 26 base32 digits that sort by time (ULID layout).

    48 bits of milliseconds and 80 random bits, lower case, in Crockford's alphabet.
    """
    now, chance = int(clock.now() * 1000), token_bytes(10)
    return (
        f"{prefix}_{_PAIRS[now >> 40]}{_eight(now & _FORTY_BITS)}"
        f"{_eight(int.from_bytes(chance[:5], 'big'))}{_eight(int.from_bytes(chance[5:], 'big'))}"
    )


def _eight(bits: int) -> str:
    """Return 40 bits as eight digits."""
    return f"{_PAIRS[bits >> 30]}{_PAIRS[bits >> 20 & 1023]}{_PAIRS[bits >> 10 & 1023]}{_PAIRS[bits & 1023]}"


def minted(value: object, prefix: str) -> str:
    """Return ``value`` if it has the shape of an id minted with ``prefix``; raises ``InvalidRequest``."""
    if not isinstance(value, str) or not _MINTED.fullmatch(value) or not value.startswith(f"{prefix}_"):
        shown = repr(value)[:60]
        raise InvalidRequest(f"{shown} is not a {prefix} id", hint=f"it looks like {prefix}_01k…", field="id")
    return value


def run_id(value: object) -> RunId:
    """Return ``value`` as a run id. Raises ``InvalidRequest``."""
    return RunId(minted(value, "run"))
