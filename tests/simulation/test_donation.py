"""Lending what waits: fewer refusals, and never more spent than there is."""

from __future__ import annotations

from insula.simulation import donation
from insula.simulation.compare import compare


def test_donation_takes_away_nine_refusals_of_ten() -> None:
    found = donation.compare(range(1, 4))
    assert found["refused_without"] > 0.02 * found["draws"]
    assert found["refused_with"] <= 0.1 * found["refused_without"]
    assert found["donated"] > 0


def test_nothing_is_refused_early_when_idle_reservations_lend() -> None:
    assert donation.compare(range(1, 3), budget=230_000)["early_with"] == 0


def test_both_adds_the_comparison_to_the_report() -> None:
    report = compare("agents", 1, policies=["wfq+drf"], slots=2, tenants=6, hours=0.2, donation="both").report
    assert report["lending"]["ratio"] <= 0.1
    assert report["without_donation"]["donated_tokens"] == 0
    assert report["donation"] is True
