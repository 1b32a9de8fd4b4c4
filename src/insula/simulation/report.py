"""The figures of a comparison, in plain types: what ``insula sim --json`` prints. Stable, documented."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from insula.simulation.checks import Gap
from insula.simulation.engine import Outcome, Setup
from insula.simulation.measure import entitled, jain, percentile
from insula.simulation.work import SECOND_US


def report(setup: Setup, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return everything about a comparison. Times in seconds, shares as parts of 1, tokens and ids whole."""
    work, service = setup.workload, setup.service
    policies = [_policy(setup, outcome) for outcome in outcomes]
    fair = [
        one["gap"]["ratio"] for one, outcome in zip(policies, outcomes, strict=True) if outcome.policy.fair
    ]
    return {
        "trace": {
            "name": work.name,
            "source": work.source,
            "runs": len(work.runs),
            "calls": work.calls,
            "tenants": len(work.tenants),
            "small_tenants": len(work.small()),
            "seconds": _seconds(work.horizon_us),
        },
        "seed": setup.seed,
        "service": {
            "slots": service.slots,
            "kv_tokens": service.kv_tokens,
            "sandboxes": service.sandboxes,
            "input_us_per_token": service.input_us,
            "output_us_per_token": service.output_us,
        },
        "estimates": "learned" if setup.learned else "known",
        "donation": setup.donation,
        "faults": setup.faults.crash_us > 0,
        "policies": policies,
        "overshoot": max((one["overshoot"] for one in policies), default=0),
        "bound_ratio": max(fair, default=None),
        "violations": [
            {"policy": one["policy"], **violation} for one in policies for violation in one["violations"]
        ],
    }


def _policy(setup: Setup, outcome: Outcome) -> dict[str, Any]:
    measures, small = outcome.measures, setup.workload.small()
    waits = [wait for some in measures.waits.values() for wait in some]
    of_small = [wait for name, some in measures.waits.items() if name in small for wait in some]
    return {
        "policy": outcome.policy.name,
        "rpm": outcome.rpm,
        "waiting_s": {"small": _waiting(of_small), "all": _waiting(waits)},
        "utilisation": round(measures.busy_us / setup.service.slots / max(1, measures.end_us), 4),
        "jain": round(_jain(setup, outcome), 4),
        "gap": _gap(outcome.gap, outcome.policy.unit),
        "sandbox_gap": _gap(outcome.sandbox_gap, "slot_us") if outcome.sandbox_gap else None,
        "calls": measures.calls,
        "refusals": {"calls": measures.refused, "runs": measures.refused_runs},
        "held_back": measures.held_back,
        "failed_runs": measures.failed_runs,
        "crashed_calls": measures.crashed_calls,
        "retries": measures.retries,
        "duplicate_events": outcome.duplicates,
        "donated_tokens": outcome.donated,
        "overrun_tokens": outcome.overrun_tokens,
        "tokens": outcome.books.tokens,
        "cost_nanousd": outcome.books.cost_nanousd,
        "seconds": _seconds(measures.end_us),
        "overshoot": outcome.overshoot_ticks,
        "checks": dict(sorted(outcome.violations.checked.items())),
        "violations": outcome.violations.as_list(),
    }


def _gap(gap: Gap, unit: str) -> dict[str, Any]:
    bound = gap.bound()
    return {
        "unit": unit,
        "worst": gap.in_units(gap.worst),
        "bound": gap.in_units(bound),
        "ratio": round(gap.worst / bound, 4) if bound else 0.0,
    }


def _waiting(waits: Sequence[int]) -> dict[str, float | int]:
    return {
        "runs": len(waits),
        "p50": _seconds(percentile(waits, 50)),
        "p95": _seconds(percentile(waits, 95)),
        "max": _seconds(max(waits, default=0)),
    }


def _jain(setup: Setup, outcome: Outcome) -> float:
    """Jain's index of what tenants got over what a fair split would have given, when arrivals end."""
    asked: Counter[str] = Counter()
    for run in setup.workload.runs:
        asked[run.tenant] += sum(map(setup.service.duration_us, run.steps))
    weights = {name: tenant.weight for name, tenant in setup.workload.tenants.items()}
    until_us = setup.workload.horizon_us
    got = {name: outcome.measures.served_by(name, until_us) for name in asked}
    due = entitled(asked, weights, sum(got.values()))
    return jain([got[name] / due[name] for name in sorted(asked) if due[name] > 0])


def _seconds(time_us: int) -> float:
    return round(time_us / SECOND_US, 3)
