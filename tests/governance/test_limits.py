"""Limits say no to nonsense, and say which field, what is wrong and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from insula.governance import Limits
from insula.kernel.errors import InvalidRequest
from insula.tenancy.bounds import LimitPreset

NONSENSE = [
    *(0, -1, -(10**30), 10**40, 10**5000, 1.5, float("nan"), float("inf")),
    *("60", "60/min", True, [], {}),
]


@pytest.mark.parametrize("field", ["rpm", "tpm", "in_flight"])
@pytest.mark.parametrize("value", NONSENSE, ids=range(len(NONSENSE)))
def test_a_bad_figure_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Limits.parse({field: value})
    assert refused.value.field == field
    assert refused.value.hint
    assert len(refused.value.message) < 200


def test_an_unknown_field_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidRequest) as refused:
        Limits.parse({"rmp": 5})
    assert refused.value.field == "rmp" and "rpm" in refused.value.hint


def test_a_burst_needs_its_limit() -> None:
    with pytest.raises(InvalidRequest) as refused:
        Limits.parse({"tpm_burst": 5})
    assert refused.value.field == "tpm_burst"


def test_a_changed_limit_does_not_keep_its_old_burst() -> None:
    before = Limits(rpm=600, rpm_burst=60, tpm=400_000, tpm_burst=40_000, in_flight=32)
    after = before.changed({"tpm": 100})
    assert after == Limits(rpm=600, rpm_burst=60, tpm=100, in_flight=32)
    assert before.changed({"tpm": None}).tpm_burst is None
    assert before.changed({"tpm_burst": 7}).tpm == 400_000


@pytest.mark.parametrize(
    ("preset", "limits"),
    [
        (
            LimitPreset(60, 0, 40_000, 0, 4, True),
            Limits(rpm=60, rpm_burst=1, tpm=40_000, in_flight=4, strict=True, debt_percent=0, queue_wait_s=0),
        ),
        (
            LimitPreset(None, 0, None, 0, None, False, 25, 120),
            Limits(strict=False, debt_percent=25, queue_wait_s=120),
        ),
        (
            LimitPreset(600, 60, 10, 5, 1, False),
            Limits(
                rpm=600,
                rpm_burst=60,
                tpm=10,
                tpm_burst=5,
                in_flight=1,
                strict=False,
                debt_percent=0,
                queue_wait_s=0,
            ),
        ),
    ],
)
def test_a_tiers_figures_become_limits(preset: LimitPreset, limits: Limits) -> None:
    assert Limits.from_preset(preset) == limits


def test_limits_survive_the_wire() -> None:
    limits = Limits(rpm=5, tpm=6, tpm_burst=7)
    assert Limits.parse(limits.as_dict()) == limits
