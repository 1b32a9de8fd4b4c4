"""How long runs hold a slot, learned by agent, so that a run can be charged before it has run."""

from __future__ import annotations

_UNKNOWN_US = 5_000_000
_REMEMBERED = 10_000
_STEP = 4


class SlotTimes:
    """Expected slot time of each agent: a quarter of the way to the last run's, each time."""

    def __init__(self) -> None:
        self._expected_us: dict[tuple[str, str], int] = {}

    def expect_us(self, tenant: str, agent: str) -> int:
        """Return how many microseconds a run will probably hold a slot."""
        return self._expected_us.get((tenant, agent), _UNKNOWN_US)

    def learn(self, tenant: str, agent: str, took_us: int) -> None:
        """Note how long a run held one. The agents heard of longest ago are forgotten first."""
        known = self._expected_us
        before = known.pop((tenant, agent), took_us)
        known[tenant, agent] = before + (took_us - before) // _STEP
        if len(known) > _REMEMBERED:
            del known[next(iter(known))]
