"""A whole comparison, as ``insula sim`` asks for it: one workload, policy after policy."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from insula.kernel.errors import InvalidRequest
from insula.simulation import donation as lending
from insula.simulation import faults as fault
from insula.simulation.engine import Outcome, Setup, simulate
from insula.simulation.policies import POLICIES
from insula.simulation.report import report
from insula.simulation.workloads import workload

SEEDS = 5
"""Seeds over which the worth of donation is measured."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was simulated, what came out, and the report of it."""

    setup: Setup
    outcomes: tuple[Outcome, ...]
    report: dict[str, Any]


def compare(
    trace: str,
    seed: int,
    *,
    policies: Sequence[str] | None = None,
    slots: int | None = None,
    tenants: int | None = None,
    hours: float | None = None,
    rpm: int | None = None,
    learned: bool = True,
    faults: bool = False,
    donation: str = "on",
    told: Callable[[str], None] = lambda _text: None,
) -> Comparison:
    """Simulate a trace under each policy. ``donation`` is ``on``, ``off``, or ``both``, which adds a
    comparison of the two. ``told`` hears what is going on.

    Raises ``InvalidRequest`` for an unknown policy or a broken trace, ``NotFound`` for a missing one.
    """
    chosen = [_known(name) for name in policies or POLICIES]
    work, service = workload(trace, seed, slots=slots, tenants=tenants, hours=hours)
    setup = Setup(
        work,
        service,
        seed,
        faults=fault.ALL if faults else fault.NONE,
        donation=donation != "off",
        learned=learned,
        rpm=rpm,
    )
    outcomes = []
    for name in chosen:
        told(f"simulating {name} ...")
        outcomes.append(simulate(setup, POLICIES[name]))
    made = report(setup, outcomes)
    if donation == "both":
        told("comparing with and without donation ...")
        made["lending"] = lending.compare(range(seed, seed + SEEDS))
        if any(run.sandboxed for run in work.runs):
            without = simulate(replace(setup, donation=False), POLICIES[chosen[-1]])
            made["without_donation"] = report(replace(setup, donation=False), [without])["policies"][0]
    return Comparison(setup, tuple(outcomes), made)


def _known(name: str) -> str:
    if name in POLICIES:
        return name
    near = difflib.get_close_matches(name, POLICIES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the policies are {', '.join(POLICIES)}"
    raise InvalidRequest(f"there is no policy called {name[:60]!r}", hint=hint, field="--policy")
