"""Plots of a comparison: service over time, waiting times, gap against its bound. SVG and PNG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insula.kernel.errors import Misconfigured
from insula.simulation.engine import Outcome, Setup
from insula.simulation.measure import percentile
from insula.simulation.work import SECOND_US

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"fifo": "#8c8c8c", "rpm": "#d98032", "wfq": "#3b7dd8", "wfq+drf": "#2a9d6f"}
TENANTS = ("#d1495b", "#edae49", "#3b7dd8", "#2a9d6f", "#8661c1")
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "insula",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "figure.dpi": 100,
}


def draw(setup: Setup, outcomes: Sequence[Outcome], directory: Path) -> list[Path]:
    """Write ``service``, ``waiting`` and ``gap`` as ``.svg`` and ``.png``; return the paths.

    Raises ``Misconfigured`` if matplotlib is not installed. The files are the same for the same figures.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise Misconfigured(
            "plots need matplotlib, which is not installed",
            hint="install it: pip install 'insula[simulation]'   (the table and --json work without)",
        ) from None
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(STYLE):
        for name, make in (("service", _service), ("waiting", _waiting), ("gap", _gap)):
            figure = make(setup, outcomes)
            for kind, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
                path = directory / f"{name}.{kind}"
                figure.savefig(path, format=kind, metadata=metadata, dpi=140)
                written.append(path)
    return written


def _plain(value: float, _place: float) -> str:
    """Write ticks of a logarithmic axis as people do: 0.1, 1, 100."""
    return f"{value:,.10g}"


def _figure(columns: int, height: float, *, share: bool) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(4.6, 2.9 * columns), height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, sharex=share, sharey=share, squeeze=False)
    return figure, list(axes[0])


def _titled(figure: Figure, title: str, below: str) -> None:
    figure.suptitle(f"{title}\n", fontsize=11, fontweight="bold", x=0.01, ha="left")
    figure.text(0.01, 0.93, below, fontsize=9, color="#555555", ha="left", va="top")


def _about(setup: Setup) -> str:
    work = setup.workload
    return (
        f"trace {work.name}: {work.calls:,} calls of {len(work.tenants):,} tenants, "
        f"{setup.service.slots} slots, seed {setup.seed}"
    )


def _service(setup: Setup, outcomes: Sequence[Outcome]) -> Figure:
    """Service received by each tenant, added up, divided by weight."""
    figure, panels = _figure(len(outcomes), 3.6, share=True)
    asked: Counter[str] = Counter()
    for run in setup.workload.runs:
        asked[run.tenant] += sum(map(setup.service.duration_us, run.steps))
    largest = [name for name, _ in asked.most_common(len(TENANTS))]
    others = [name for name in sorted(asked) if name not in largest][:: max(1, len(asked) // 60)]
    for panel, outcome in zip(panels, outcomes, strict=True):
        for name in others:
            _curve(panel, setup, outcome, name, color="#b9b9b9", linewidth=0.7)
        for name, colour in zip(largest, TENANTS, strict=False):
            _curve(panel, setup, outcome, name, color=colour, linewidth=1.6, label=name)
        panel.plot([], [], color="#b9b9b9", linewidth=0.7, label="others")
        _arrivals_end(panel, setup)
        panel.set_title(outcome.policy.title, fontsize=10)
        panel.set_xlabel("minutes")
    panels[0].set_ylabel("slot-seconds received / weight")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside right center",
        title="asked for most",
        title_fontsize=9,
    )
    _titled(figure, "Service per tenant over time", _about(setup) + "; dashed: the last arrival")
    return figure


def _curve(panel: Axes, setup: Setup, outcome: Outcome, name: str, **style: Any) -> None:
    measures = outcome.measures
    weight = setup.workload.tenants[name].weight
    total = [0.0, *(value / SECOND_US / weight for value in accumulate(measures.series.get(name, [0])))]
    panel.plot([number * measures.every_us / SECOND_US / 60 for number in range(len(total))], total, **style)


def _arrivals_end(panel: Axes, setup: Setup) -> None:
    panel.axvline(setup.workload.horizon_us / SECOND_US / 60, color="#777777", linewidth=0.8, linestyle="--")


def _waiting(setup: Setup, outcomes: Sequence[Outcome]) -> Figure:
    """Share of runs that waited no longer than so long: of small tenants, and of all."""
    figure, panels = _figure(2, 4.6, share=True)
    figure.set_size_inches(9.4, 4.6)
    small = setup.workload.small()
    for panel, title, chosen in zip(
        panels, (f"the {len(small)} small tenants", "all tenants"), (small, None), strict=True
    ):
        for outcome in outcomes:
            waits = [
                wait
                for name, some in outcome.measures.waits.items()
                if chosen is None or name in chosen
                for wait in some
            ]
            shares = range(101)
            seconds = [max(0.1, percentile(waits, share) / SECOND_US) for share in shares]
            p95 = percentile(waits, 95) / SECOND_US
            label = f"{outcome.policy.title}  (p95 {p95:,.1f} s)"
            panel.plot(seconds, shares, color=COLOURS[outcome.policy.name], linewidth=1.6, label=label)
        panel.axhline(95, color="#777777", linewidth=0.8, linestyle=":")
        panel.set_xscale("log")
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("seconds waited (log)")
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8)
        panel.xaxis.set_major_formatter(_plain)
    panels[0].set_ylabel("% of the runs that succeeded")
    _titled(figure, "Waiting times", _about(setup) + "; dotted: 95 %; refused work is not in it")
    return figure


def _gap(setup: Setup, outcomes: Sequence[Outcome]) -> Figure:
    """The largest gap so far, as a fraction of the bound."""
    figure, panels = _figure(1, 3.8, share=False)
    figure.set_size_inches(7.0, 4.6)
    panel, lowest = panels[0], 1.0
    for outcome in outcomes:
        gap, end_us = outcome.gap, outcome.measures.end_us
        bound = gap.bound() or 1
        times = [0.0, *(at_us / SECOND_US / 60 for at_us, _ in gap.series), end_us / SECOND_US / 60]
        ratios = [0.0, *(worst / bound for _, worst in gap.series), gap.worst / bound]
        lowest = min([lowest, *(ratio for ratio in ratios if ratio > 0)])
        label = f"{outcome.policy.title}  ({gap.worst / bound:.2f})"
        panel.step(
            times, ratios, where="post", color=COLOURS[outcome.policy.name], linewidth=1.6, label=label
        )
    panel.axhline(1, color="#c1121f", linewidth=1.0, linestyle="--", label="bound  $2(1+\\sigma)(U+E)$")
    panel.set_yscale("log")
    panel.set_ylim(bottom=max(1e-3, lowest / 1.5))
    panel.set_xlabel("minutes")
    panel.set_ylabel("largest gap so far / bound (log)")
    panel.yaxis.set_major_formatter(_plain)
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, fontsize=8.5)
    _titled(figure, "Gap between waiting tenants", _about(setup))
    return figure
