"""The policy without a queue: so many requests a minute for each tenant; who comes too early is told so."""

from __future__ import annotations

from collections.abc import Callable

from insula.governance import PLATFORM, Governor, Limits, Scope
from insula.governance.quota.need import Amounts, Need
from insula.kernel.errors import RateLimited
from insula.simulation.call import Call
from insula.simulation.checks import LimitChecks, Violations
from insula.simulation.measure import Measures
from insula.simulation.timeline import GatewayClock, Timeline
from insula.simulation.work import SECOND_US

RETRIES = 5


class RateGate:
    """Answers 429 to a tenant that is over its rate; the caller comes back ``RETRIES`` times.

    A caller waits as long as it was told, and at least 1, 2, 4, ... seconds, as client libraries do.
    """

    def __init__(
        self,
        rpm: int,
        clock: GatewayClock,
        timeline: Timeline,
        violations: Violations,
        measures: Measures,
        admitted: Callable[[Call], None],
    ) -> None:
        def limits_for(key: str) -> Limits:
            return Limits() if key == PLATFORM else Limits(rpm=rpm, rpm_burst=rpm)

        self._governor = Governor(clock, limits_for)
        self._checks = LimitChecks(violations, limits_for)
        self._clock = clock
        self._timeline = timeline
        self._measures = measures
        self._admitted = admitted

    def submit(self, call: Call) -> None:
        """Let a call pass, or have it come back later, or refuse it for good."""
        rid, tenant = f"{call.id}/{call.tries}", call.run.tenant
        try:
            self._governor.reserve(Scope(tenant), rid, Need(Amounts(1)))
        except RateLimited as refusal:
            self._come_back(call, refusal.retry_after_s or 0.0)
            return
        self._checks.reserved(rid, (PLATFORM, tenant), 0, 0, self._clock() + SECOND_US)
        self._checks.sent(rid, self._clock())
        self._governor.settle(rid, Amounts())
        self._checks.ended(rid)
        self._admitted(call)

    def _come_back(self, call: Call, told_s: float) -> None:
        call.tries += 1
        if call.tries > RETRIES:
            self._measures.refused += 1
            call.done(call, "refused")
            return
        self._measures.held_back += 1
        wait_us = max(round(told_s * SECOND_US), SECOND_US << (call.tries - 1))
        self._timeline.after(wait_us, self.submit, call)
