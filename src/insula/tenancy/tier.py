"""The two words that decide how a tenant is isolated: its own tier, and the platform's trust."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from insula.kernel.errors import InvalidRequest

W = TypeVar("W", bound=StrEnum)


class Tier(StrEnum):
    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"
    DEDICATED = "dedicated"


class Trust(StrEnum):
    """Who the tenants are to each other: strangers, or teams of one organisation."""

    SAAS = "saas"
    INTERNAL = "internal"


def parse_tier(value: object) -> Tier:
    """Return ``value`` as a tier. Raises ``InvalidRequest`` that lists the tiers."""
    return _parse(Tier, value, "tier")


def parse_trust(value: object) -> Trust:
    """Return ``value`` as a trust. Raises ``InvalidRequest`` that lists the two."""
    return _parse(Trust, value, "trust")


def _parse(words: type[W], value: object, field: str) -> W:
    for word in words:
        if isinstance(value, str) and value == word.value:
            return word
    hint = f"use one of {', '.join(word.value for word in words)}"
    raise InvalidRequest(f"there is no {field} {str(value)[:40]!r}", hint=hint, field=field)
