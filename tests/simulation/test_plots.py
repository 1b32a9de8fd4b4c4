"""Plots: the files are there, the same each time, and without matplotlib the fix is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from insula.kernel.errors import Misconfigured
from insula.simulation.compare import Comparison, compare
from insula.simulation.plots import draw


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare("agents", 1, policies=["fifo", "wfq+drf"], slots=2, tenants=8, hours=0.2)


def test_three_plots_in_two_formats(comparison: Comparison, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first = draw(comparison.setup, comparison.outcomes, tmp_path / "one")
    assert sorted(path.name for path in first) == sorted(
        f"{name}.{kind}" for name in ("service", "waiting", "gap") for kind in ("svg", "png")
    )
    for path in first:
        if path.suffix == ".svg":
            text = path.read_text()
            assert "WFQ + DRF" in text and "FIFO" in text


@pytest.mark.slow
def test_the_same_figures_give_the_same_files(comparison: Comparison, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first = draw(comparison.setup, comparison.outcomes, tmp_path / "one")
    second = draw(comparison.setup, comparison.outcomes, tmp_path / "two")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_without_matplotlib_the_extra_is_named(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Misconfigured) as refused:
        draw(comparison.setup, comparison.outcomes, tmp_path)
    assert "insula[simulation]" in refused.value.hint
