"""The model's endpoint: calls wait for a slot, are reserved, run and are settled, unless something fails."""

from __future__ import annotations

import random
from collections.abc import Callable

from insula.governance import Estimator
from insula.governance.fairness import Item, Lane
from insula.kernel.errors import LimitError, RateLimited
from insula.simulation.admission import Admission, max_tokens
from insula.simulation.call import Call
from insula.simulation.expected import Expected
from insula.simulation.faults import Faults
from insula.simulation.measure import Measures
from insula.simulation.service import Service
from insula.simulation.station import Station
from insula.simulation.timeline import GatewayClock, Timeline
from insula.simulation.work import SECOND_US

PROGRESS_US = 4 * SECOND_US
PATIENCE_US = 600 * SECOND_US
"""How long a caller waits for a limit before it gives up."""

Cost = Callable[[int, int, int], int]
"""Cost of a call from its input tokens, its output tokens and its microseconds of service."""


class Endpoint:
    """Serves calls in the order of its station's queue, within every limit."""

    def __init__(
        self,
        timeline: Timeline,
        clock: GatewayClock,
        service: Service,
        cost: Cost,
        faults: Faults,
        rng: random.Random,
        measures: Measures,
        *,
        learned: bool = True,
    ) -> None:
        self._timeline = timeline
        self._clock = clock
        self._service = service
        self._cost = cost
        self._faults = faults
        self._rng = rng
        self._measures = measures
        self._learned = learned
        self._estimator = Estimator()
        self._expected = Expected()
        self._kv_free = service.kv_tokens
        self._running: dict[str, Call] = {}
        self.station: Station
        self.admission: Admission

    def submit(self, call: Call) -> None:
        """Let a call wait for its turn, charged by what it is expected to cost."""
        step = call.step
        call.estimate = expected = step.output
        if self._learned:
            call.estimate = self._estimator.output(_who(call), "model", max_tokens(call))
            expected = self._expected.output(_who(call))
        expected_us = self._service.prefill_us(step) + expected * self._service.output_us
        call.cost = self._cost(step.prompt, expected, max(1, expected_us))
        lane = Lane.BATCH if call.run.batch else Lane.INTERACTIVE
        self.station.submit(Item(call.id, call.run.tenant, call.run.agent, lane, call.cost, call))

    def fits(self, item: Item) -> bool:
        """Whether the keys and values of a call fit beside those of the running ones. It gets the rest if
        nothing runs: what is larger than the memory is served alone."""
        return not self._running or self._size(item.payload) <= self._kv_free

    def start(self, item: Item) -> bool:
        """Reserve and start a picked call; put it back or refuse it if a limit is in the way."""
        call: Call = item.payload
        try:
            self.admission.reserve(call, call.run.id if call.run.sandboxed else None)
        except LimitError as refusal:
            self._held_back(item, refusal)
            return False
        call.charged = call.cost
        call.started_us = self._timeline.now_us
        call.gateway = self._rng.randrange(self._faults.gateways)
        self._running[call.id] = call
        self._kv_free -= self._size(call)
        self.admission.sent(call)
        duration_us = self._service.prefill_us(call.step) + call.output * self._service.output_us
        self._timeline.after(max(1, duration_us), self._finished, call)
        if duration_us > PROGRESS_US:
            self._timeline.after(PROGRESS_US, self._progress, call)
        self._timeline.after(self.admission.ttl_us(call), self._watch, call)
        return True

    def expired(self, call: Call, output: int) -> None:
        """Settle the queue for a call that nobody settled in time: it is charged what the limits charged."""
        self._settle_queue(call, output)

    def crash(self) -> None:
        """Kill a gateway: the calls it carried are gone, nobody settles them, their callers see an error."""
        gateway = self._rng.randrange(self._faults.gateways)
        dead = [call for call in self._running.values() if call.gateway == gateway]
        for call in dead:
            self._measures.crashed_calls += 1
            self._leave(call)
        for call in dead:
            call.done(call, "crashed")
            self.station.release()

    def _held_back(self, item: Item, refusal: LimitError) -> None:
        """Wait with the tenant if its limit is full, with everybody if the platform's is; or give up."""
        patient = self._timeline.now_us - item.payload.asked_us < PATIENCE_US
        if not isinstance(refusal, RateLimited) or refusal.retry_after_s is None or not patient:
            self.station.drop(item)
            self._measures.refused += 1
            item.payload.done(item.payload, "refused")
            return
        self._measures.held_back += 1
        self.station.put_back(item)
        wait_us = max(1, round(refusal.retry_after_s * SECOND_US))
        if refusal.details.get("level") == "platform":
            self.station.paused = True
            self._timeline.after(wait_us, self._resume)
        else:
            self.station.block(item.tenant)
            self._timeline.after(wait_us, self.station.unblock, item.tenant)

    def _resume(self) -> None:
        self.station.paused = False
        self.station.dispatch()

    def _progress(self, call: Call) -> None:
        if call.over:
            return
        elapsed_us = self._timeline.now_us - call.started_us
        output = min(call.output, self._service.output_after(call.step, elapsed_us))
        self.admission.progress(call, output)
        so_far = self._cost(call.step.prompt, output, elapsed_us)
        self.station.order.progress(call.id, so_far)
        if so_far > call.charged:
            self.station.gap.corrected(call.run.tenant, so_far - call.charged)
            call.charged = so_far
        self._timeline.after(PROGRESS_US, self._progress, call)

    def _finished(self, call: Call) -> None:
        if call.over:
            return
        self._leave(call)
        fate = self._faults.settlement(self._rng)
        if fate in ("ok", "twice", "reordered"):
            self._settle(call)
        if fate == "twice":
            self._timeline.after(SECOND_US, self._settle, call)
        elif fate == "reordered":
            self._timeline.after(SECOND_US, self.admission.progress, call, call.output // 2)
        elif fate == "late":
            self._timeline.after(self._faults.late_by_us, self._settle, call)
        self._measures.calls += 1
        call.done(call, "ok")
        self.station.release()

    def _leave(self, call: Call) -> None:
        """Free the call's slot and memory."""
        call.over = True
        del self._running[call.id]
        self._kv_free += self._size(call)
        self._measures.ran(call.run.tenant, call.started_us, self._timeline.now_us)

    def _settle(self, call: Call) -> None:
        if self.admission.settle(call):
            self._settle_queue(call, call.output)
            self._estimator.learn(_who(call), "model", call.output)
            self._expected.learn(_who(call), call.output)

    def _settle_queue(self, call: Call, output: int) -> None:
        if call.settled:
            return
        call.settled = True
        took_us = max(1, self._service.prefill_us(call.step) + output * self._service.output_us)
        actual = self._cost(call.step.prompt, output, took_us)
        self.station.settle(call.id, call.run.tenant, call.cost, call.charged, actual)
        call.charged = actual

    def _watch(self, call: Call) -> None:
        """Look at a hold when its time is up; a clock that was put back makes that later."""
        left_us = self.admission.left_us(call)
        if left_us is None:
            return
        if left_us > 0:
            self._timeline.after(left_us, self._watch, call)
        else:
            self.admission.expire()

    def _size(self, call: Call) -> int:
        """Return the keys and values a call holds, in tokens: never more than there is room for."""
        return min(call.step.prompt + call.output, self._service.kv_tokens)


def _who(call: Call) -> str:
    return f"{call.run.tenant}/{call.run.agent}"
