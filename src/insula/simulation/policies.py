"""The policies that are compared: who is served next, and what a call costs whom it is served to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from insula.governance.fairness import Capacity, FairQueue, dominant_ns, model_call
from insula.simulation.endpoint import Cost
from insula.simulation.fifo import FifoQueue
from insula.simulation.service import Service
from insula.simulation.station import Order

SKIP_BUDGET = 1
BATCH_AGE_US = 900_000_000


@dataclass(frozen=True, slots=True)
class Policy:
    """``fair`` policies promise the bound on the gap. ``gated`` ones refuse instead of queueing fairly."""

    name: str
    title: str
    fair: bool
    gated: bool
    unit: Literal["tokens", "dominant_ns"]


FIFO = Policy("fifo", "FIFO", fair=False, gated=False, unit="dominant_ns")
RPM = Policy("rpm", "per-tenant RPM", fair=False, gated=True, unit="dominant_ns")
WFQ = Policy("wfq", "WFQ", fair=True, gated=False, unit="tokens")
WFQ_DRF = Policy("wfq+drf", "WFQ + DRF", fair=True, gated=False, unit="dominant_ns")
POLICIES = {policy.name: policy for policy in (FIFO, RPM, WFQ, WFQ_DRF)}

MakeQueue = Callable[[], FairQueue]


def fair_queue() -> FairQueue:
    """Return a fair queue as the platform sets it up."""
    return FairQueue(skip_budget=SKIP_BUDGET, batch_age_us=BATCH_AGE_US)


def order(policy: Policy, weights: Mapping[str, int], make: MakeQueue) -> Order:
    """Return an empty queue of this policy."""
    if not policy.fair:
        return FifoQueue()
    queue = make()
    for tenant, weight in weights.items():
        queue.weigh(tenant, weight)
    return queue


def cost(policy: Policy, service: Service) -> Cost:
    """Return what a call is charged: tokens, output twice, as VTC does; or its dominant nanoseconds."""
    if policy.unit == "tokens":
        return lambda prompt, output, _held_us: prompt + 2 * output
    capacity = Capacity(
        held={"slots": service.slots, "kv_tokens": service.kv_tokens},
        consumed={
            "prefill_tokens": service.slots * 1_000_000 // service.input_us,
            "decode_tokens": service.slots * 1_000_000 // service.output_us,
        },
    )
    return lambda prompt, output, held_us: dominant_ns(model_call(prompt, output, held_us * 1000), capacity)
