"""What fair queuing and lending are worth, and that no promise breaks: the same figures on every machine.

python -m benchmarks.simulation [--json] [--seed N]
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from insula.simulation import donation
from insula.simulation.compare import compare

SMALL_MAX, UTILISATION_MIN, REFUSALS_MAX = 0.08, 0.95, 0.10
TRACES = ("arena", "azure", "mooncake", "servegen", "agents")
SIZES = {"servegen": {"hours": 0.25}, "agents": {"tenants": 100, "slots": 8, "faults": True}}


def policy(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in report["policies"] if one["policy"] == name)


def figure(name: str, value: float, bound: str = "", held: bool = True) -> dict[str, Any]:
    return {"name": name, "value": value, "bound": bound, "held": held}


def arena(report: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Compare with FIFO on the same trace: waiting of the small tenants, use of the slots."""
    line, figures = policy(report, "fifo"), []
    before = line["waiting_s"]["small"]["p95"]
    figures.append(figure(f"arena, {kind}: small tenants' p95 waiting, fifo, s", before))
    for name in ("rpm", "wfq", "wfq+drf"):
        one = policy(report, name)
        fair = name != "rpm"
        waits = round(one["waiting_s"]["small"]["p95"] / before, 4)
        used = round(one["utilisation"] / line["utilisation"], 4)
        bounds = (f"<= {SMALL_MAX}", f">= {UTILISATION_MIN}") if fair else ("", "")
        figures += [
            figure(
                f"arena, {kind}: the same, {name}, of fifo's",
                waits,
                bounds[0],
                not fair or waits <= SMALL_MAX,
            ),
            figure(
                f"arena, {kind}: utilisation, {name}, of fifo's",
                used,
                bounds[1],
                not fair or used >= UTILISATION_MIN,
            ),
        ]
    return figures


def promises(trace: str, report: dict[str, Any], kind: str = "") -> list[dict[str, Any]]:
    """Gap and overshoot of a trace, and what else was found."""
    figures = []
    for one in report["policies"]:
        fair = one["policy"].startswith("wfq")
        ratio = one["gap"]["ratio"]
        name = f"{trace}{kind}: largest gap / bound, {one['policy']}"
        figures.append(figure(name, ratio, "<= 1" if fair else "", not fair or ratio <= 1))
    overshoot, broken = report["overshoot"], len(report["violations"])
    checks = sum(sum(one["checks"].values()) for one in report["policies"])
    figures.append(figure(f"{trace}{kind}: overshoot, ticks", overshoot, "<= 0", overshoot == 0))
    figures.append(
        figure(f"{trace}{kind}: promises broken, of {checks:,} checks", broken, "<= 0", broken == 0)
    )
    return figures


def lending(seed: int) -> list[dict[str, Any]]:
    found = donation.compare(range(seed, seed + 20))
    without = round(found["refused_without"] / found["draws"], 4)
    return [
        figure("donation: draws refused without it", without, "> 0", without > 0),
        figure(
            "donation: refusals with it, of those",
            found["ratio"],
            f"<= {REFUSALS_MAX}",
            found["ratio"] <= REFUSALS_MAX,
        ),
    ]


def measure(seed: int) -> list[dict[str, Any]]:
    figures: list[dict[str, Any]] = []
    for trace in TRACES:
        sizes: dict[str, Any] = SIZES.get(trace, {})
        report = compare(trace, seed, **sizes).report
        figures += (arena(report, "lengths learned") if trace == "arena" else []) + promises(trace, report)
    known = compare("arena", seed, learned=False).report
    return (
        figures + arena(known, "lengths known") + promises("arena", known, ", lengths known") + lending(seed)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    figures = measure(given.seed)
    held = all(one["held"] for one in figures)
    if given.json:
        print(json.dumps({"figures": figures, "held": held}))
    for one in () if given.json else figures:
        mark = "" if one["held"] else "  NOT HELD"
        print(f"{one['name']:<66} {one['value']:>10} {one['bound']:>8}{mark}")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
