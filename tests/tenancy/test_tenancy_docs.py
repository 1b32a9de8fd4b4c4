"""The documentation's table of tiers is the table of tiers."""

from __future__ import annotations

from pathlib import Path

from insula.tenancy import LADDERS, Tier, Trust, floor_of, resolve

TEXT = (Path(__file__).parents[2] / "docs" / "tenancy.md").read_text()


def row(name: str, cells: list[object]) -> str:
    return f"| {name} | {' | '.join(map(str, cells))} |"


def test_every_cell_of_the_table_is_what_resolves() -> None:
    for trust in Trust:
        assert row(f"compute, {trust}", [floor_of("compute", tier, trust) for tier in Tier]) in TEXT
    for aspect in set(LADDERS) - {"compute"}:
        assert row(aspect, [floor_of(aspect, tier, Trust.SAAS) for tier in Tier]) in TEXT
    boxes = [resolve(tier, Trust.SAAS).sandbox for tier in Tier]
    assert row("sandbox memory, MiB", [box.memory_mib for box in boxes]) in TEXT
    assert row("sandbox processes", [box.pids for box in boxes]) in TEXT
    assert row("sandbox CPUs", [box.cpu_fraction for box in boxes]) in TEXT
    assert row("workspace, MiB", [box.workspace_mib for box in boxes]) in TEXT
    assert row("longest run, s", [box.wall_s for box in boxes]) in TEXT
    limits = [resolve(tier, Trust.SAAS).limits for tier in Tier]
    assert row("in flight", [limit.in_flight for limit in limits]) in TEXT
    assert row("strict estimates", [limit.strict_estimates for limit in limits]) in TEXT
    assert row("debt borne, % of burst", [limit.debt_percent for limit in limits]) in TEXT
    assert row("wait in the queue, s", [limit.queue_wait_s for limit in limits]) in TEXT
    assert row("weight", [limit.weight for limit in limits]) in TEXT
    for name, rate, burst in (("requests", "rpm", "rpm_burst"), ("tokens", "tpm", "tpm_burst")):
        cells = [
            "unlimited" if getattr(one, rate) is None else f"{getattr(one, rate)} ({getattr(one, burst)})"
            for one in limits
        ]
        assert row(f"{name} per minute (burst)", list(cells)) in TEXT


def test_every_ladder_is_described() -> None:
    for ladder in LADDERS.values():
        separator = "; " if ladder.aspect == "lanes" else ", "
        assert f"| {ladder.aspect} | {separator.join(ladder.words)} |" in TEXT
