"""The turnstiles of all endpoints, and what a call costs where it queues."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from insula.gateway.turnstile import Reserve, Turnstile
from insula.governance.fairness import Capacity, FairQueue, dominant_ns
from insula.governance.fairness.dominant import model_call
from insula.kernel.clock import Clock

if TYPE_CHECKING:
    from insula.gateway.admission import Admission
    from insula.models import Endpoint
    from insula.usage import Tokens

_BOUNDLESS = Capacity(held={"slots": 1})
"""An endpoint that states nothing: time in a slot is what it costs."""


class Turnstiles:
    """One turnstile for each endpoint, made when its first call comes.

    ``weight(tenant)`` is its share where tenants queue; ``label(tenant)`` the group under which its waiting
    is counted (its tier). ``seen(name, queue)`` is told of each new queue.
    """

    def __init__(
        self,
        clock: Clock,
        weight: Callable[[str], int | Fraction],
        label: Callable[[str], str] = lambda tenant: "",
        seen: Callable[[str, FairQueue], None] = lambda name, queue: None,
    ) -> None:
        self._clock = clock
        self._weight = weight
        self._label = label
        self._seen = seen
        self._at: dict[str, Turnstile] = {}

    def begin(self, reserve: Reserve, give_back: Callable[[str], None]) -> None:
        """Say how admissions are reserved, and given back when their caller has left."""
        self._reserve = reserve
        self._give_back = give_back

    def at(self, endpoint: Endpoint) -> Turnstile:
        """Return the turnstile of an endpoint."""
        found = self._at.get(endpoint.name)
        if found is None:
            queue = FairQueue(label_of=self._label)
            found = Turnstile(
                queue, self._clock, self._reserve, self._give_back, self._weigh, slots_of(endpoint)
            )
            self._at[endpoint.name] = found
            self._seen(endpoint.name, queue)
        elif found.slots != slots_of(endpoint):
            found.resize(slots_of(endpoint))
        return found

    def poke(self, tenant: str) -> None:
        """Something of a tenant's was given back: whoever waits for it may try again."""
        for turnstile in self._at.values():
            turnstile.poke(tenant)

    def waiting(self) -> int:
        """Return how many calls wait."""
        return sum(turnstile.queue.waiting() for turnstile in self._at.values())

    def close(self) -> None:
        """Refuse whoever waits."""
        for turnstile in self._at.values():
            turnstile.close()

    def _weigh(self, queue: FairQueue, tenant: str) -> None:
        queue.weigh(tenant, self._weight(tenant))


def slots_of(endpoint: Endpoint) -> int | None:
    """Return how many calls an endpoint takes at once; ``None``: it states no bound."""
    capacity = endpoint.capacity
    return None if capacity is None else capacity.held.get("slots")


def fair_cost(admission: Admission, tokens: Tokens, held_us: int) -> int:
    """Return what a call costs its tenant in an endpoint's queue: nanoseconds of its dominant resource."""
    demand = model_call(tokens.input, tokens.output, max(1, held_us) * 1_000)
    return dominant_ns(demand, admission.endpoint.capacity or _BOUNDLESS)
