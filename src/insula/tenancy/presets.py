"""The rates each tier starts with, dated: a row holds from its day on, and no row is ever edited."""

from __future__ import annotations

from datetime import date

from insula.tenancy.bounds import LimitPreset
from insula.tenancy.tier import Tier

_FIRST = date(2026, 11, 23)
_SECOND = date(2026, 11, 25)

PRESETS: dict[Tier, tuple[LimitPreset, ...]] = {
    Tier.FREE: (
        LimitPreset(rpm=60, rpm_burst=0, tpm=40_000, tpm_burst=0, in_flight=4, strict_estimates=True,
                    effective_from=_FIRST),
        LimitPreset(rpm=20, rpm_burst=0, tpm=20_000, tpm_burst=8_000, in_flight=2, strict_estimates=True,
                    effective_from=_SECOND),
    ),
    Tier.PRO: (
        LimitPreset(rpm=600, rpm_burst=60, tpm=400_000, tpm_burst=400_000, in_flight=32,
                    strict_estimates=False, effective_from=_FIRST),
        LimitPreset(rpm=300, rpm_burst=60, tpm=400_000, tpm_burst=400_000, in_flight=16,
                    strict_estimates=False, debt_percent=10, queue_wait_s=30, weight=4,
                    effective_from=_SECOND),
    ),
    Tier.ENTERPRISE: (
        LimitPreset(rpm=6_000, rpm_burst=600, tpm=4_000_000, tpm_burst=8_000_000, in_flight=256,
                    strict_estimates=False, debt_percent=25, queue_wait_s=120, weight=8,
                    effective_from=_FIRST),
    ),
    Tier.DEDICATED: (
        LimitPreset(rpm=None, rpm_burst=0, tpm=None, tpm_burst=0, in_flight=1_024,
                    strict_estimates=False, debt_percent=25, queue_wait_s=120, weight=8,
                    effective_from=_FIRST),
    ),
}  # fmt: skip
"""Oldest first. Enterprise and dedicated are where negotiations begin."""


def preset(tier: Tier, on: date | None = None) -> LimitPreset:
    """Return the rates of ``tier`` on a day (UTC); ``None``: the newest there are.

    Before the first row's day the first row holds.
    """
    rows = PRESETS[tier]
    if on is None:
        return rows[-1]
    return next((row for row in reversed(rows) if row.effective_from <= on), rows[0])
