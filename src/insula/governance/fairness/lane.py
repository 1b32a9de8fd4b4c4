"""Lanes: inside a tenant, interactive work goes before batch work."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from insula.kernel.errors import Denied, InvalidRequest


class Lane(StrEnum):
    """How urgent a tenant says its own work is. Across tenants a lane counts for nothing."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


def parse_lane(text: str, field: str) -> Lane:
    """Return the lane of that name. Raises ``InvalidRequest`` naming ``field``."""
    try:
        return Lane(text.strip().lower())
    except ValueError:
        raise InvalidRequest(
            f"{field} is {text[:40]!r}", hint="use interactive or batch", field=field
        ) from None


def must_have(lane: Lane, lanes: Collection[str], tenant: str, field: str) -> None:
    """Raise ``Denied`` unless work in ``lane`` is among ``lanes``, those of a tenant's tier.

    Every tier has the interactive one.
    """
    if lane is not Lane.INTERACTIVE and lane not in lanes:
        raise Denied(
            f"the tier of {tenant} has no {lane} lane",
            hint=f"leave {field} out, or ask for a higher tier",
            field=field,
            rule="lane.not_in_tier",
        )
