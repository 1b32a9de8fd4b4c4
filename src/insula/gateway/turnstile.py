"""The turnstile of one endpoint: who goes next, when there is room and quota for it.

Calls wait here for one of the endpoint's slots, in the order of the fair queue, and for their own quota.
A call whose quota is used up does not stand in anybody's way: its flow leaves the queue until waiting has
helped, and earns no claim meanwhile. When the endpoint itself says that it is at its limit, the number of
slots in use is halved, and grows again by one for every full round of calls that went well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from insula.gateway.admission import Admission
from insula.governance import Hard
from insula.governance.fairness import FairQueue
from insula.governance.stores.contract import Reserved, Soon
from insula.kernel.clock import Clock
from insula.kernel.errors import EnforcementUnavailable, InsulaError, ModelFailed, Overloaded, RateLimited

_log = structlog.get_logger()

MOST_WAITING = 1_000
"""Calls of one tenant that may wait at one endpoint."""

MOST_ATTEMPTS = 5
"""How often a call is sent to an endpoint that says each time that it is at its limit."""

_SOONEST_S = 0.005
_ENOUGH_SLOTS = 1_000_000


class Reserve(Protocol):
    """Reserves what an admission needs; raises, or promises, its refusal."""

    def __call__(self, admission: Admission) -> Soon[Reserved]: ...


class Turnstile:
    """Belongs to one event loop. ``slots``: calls in flight at once (``None``: the endpoint has no bound)."""

    def __init__(
        self,
        queue: FairQueue,
        clock: Clock,
        reserve: Reserve,
        give_back: Callable[[str], None],
        weigh: Callable[[FairQueue, str], None],
        slots: int | None,
    ) -> None:
        self.queue = queue
        self.in_use = 0
        self._clock = clock
        self._reserve = reserve
        self._give_back = give_back
        self._weigh = weigh
        self._slots = slots
        self._allowed = slots if slots is not None else _ENOUGH_SLOTS
        self._went_well = 0
        self._shut_until = 0.0
        self._opening: asyncio.TimerHandle | None = None
        self._waiting: dict[str, Admission] = {}
        self._deadlines: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        self._reasons: dict[str, InsulaError] = {}
        self._parked: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._loop = asyncio.get_running_loop()

    @property
    def slots(self) -> int | None:
        """How many calls the endpoint takes at once."""
        return self._slots

    def resize(self, slots: int | None) -> None:
        """Change the number of slots; calls in flight stay."""
        self._slots = slots
        self._allowed = slots if slots is not None else _ENOUGH_SLOTS
        self._pump()

    def enter(self, admission: Admission) -> None:
        """Take a call in. It hears ``admitted`` or ``refused``, perhaps before this returns."""
        admission.turnstile = self
        if self._slots is None and not self._shut() and self._allowed == _ENOUGH_SLOTS and (
            admission.wait_s <= 0 or not self.queue.waiting(admission.scope.tenant)
        ):  # fmt: skip
            self._attempt(admission)
            return
        if self.queue.waiting(admission.scope.tenant) >= MOST_WAITING:
            admission.refused(_crowded())
            return
        self._line_up(admission)
        self._pump()
        if admission.request_id in self._waiting and not self._deadline_of(admission):
            self._give_up(admission)

    def leave(self, admission: Admission) -> None:
        """The caller left while it waited."""
        if self._forget(admission):
            self.queue.cancel(admission.request_id)
            self._pump()

    def done(self, admission: Admission, cost: int) -> int:
        """A call that was admitted is over: its slot is free, its cost known. Return what it was charged."""
        self.in_use -= 1
        charged = self.queue.settle(admission.request_id, cost) if admission.queued else 0
        if admission.guessed and self._waiting:
            self._reckon_anew()
        self._pump()
        return charged

    def again(self, admission: Admission, retry_after_s: float) -> bool:
        """The endpoint is at its limit: put the call back at the head, charged as it is.

        ``False`` if its caller does not wait that long; then it is still admitted.
        """
        left = self._left(admission, admission.wait_s)
        self._throttle(retry_after_s)
        if left <= retry_after_s or admission.attempts >= MOST_ATTEMPTS:
            return False
        self.in_use -= 1
        admission.entered_us = self._clock.monotonic_us()
        self._put_back(admission, keep_charge=True)
        self._set_deadline(admission, left, _throttled(retry_after_s))
        return True

    def eased(self) -> None:
        """A call went well: after a full round of them one more may run at once."""
        self._went_well += 1
        ceiling = self._slots if self._slots is not None else _ENOUGH_SLOTS
        if self._allowed < ceiling and self._went_well >= self._allowed:
            self._went_well = 0
            self._allowed += 1
            if self._slots is None and self._allowed > 4 * (self.in_use + 8):
                self._allowed = _ENOUGH_SLOTS

    def poke(self, tenant: str) -> None:
        """Something of a tenant's was given back: its parked flows may try again."""
        for parked in [key for key in self._parked if key[0] == tenant]:
            self._wake(*parked)

    def close(self) -> None:
        """Refuse whoever waits."""
        for admission in list(self._waiting.values()):
            self._give_up(admission)
        for timer in (*self._parked.values(), *([self._opening] if self._opening else ())):
            timer.cancel()
        self._parked.clear()

    # inside

    def _room(self) -> bool:
        return self.in_use < self._allowed and not self._shut()

    def _shut(self) -> bool:
        return self._loop.time() < self._shut_until

    def _line_up(self, admission: Admission) -> None:
        if not self.queue.waiting(admission.scope.tenant):
            self._weigh(self.queue, admission.scope.tenant)
        self._waiting[admission.request_id] = admission
        self.queue.enqueue(admission.reckoned(), self._clock.monotonic_us())

    def _put_back(self, admission: Admission, *, keep_charge: bool) -> None:
        """Let a call wait that was let past: in its old place if it had one, else at the end of its flow."""
        self._waiting[admission.request_id] = admission
        now = self._clock.monotonic_us()
        if admission.queued:
            self.queue.requeue(admission.request_id, now, keep_charge=keep_charge)
        else:
            self.queue.enqueue(admission.reckoned(), now)

    def _pump(self) -> None:
        """Let in whoever goes next, as long as there is room."""
        while self._waiting and self._room():
            item = self.queue.pick(self._clock.monotonic_us())
            if item is None:
                return
            admission = self._waiting.get(item.id)
            if admission is None:
                self.queue.settle(item.id, 0)
                continue
            self._forget(admission)
            admission.queued = True
            self._attempt(admission)

    def _attempt(self, admission: Admission) -> None:
        self.in_use += 1
        try:
            answer = self._reserve(admission)
        except Exception as error:
            self._not_now(admission, _refusal(error))
            return
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(partial(self._answered, admission))
        else:
            self._let_in(admission, answer.hard)

    def _answered(self, admission: Admission, answer: asyncio.Future[Reserved]) -> None:
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if error is None:
            self._let_in(admission, answer.result().hard)
        else:
            self._not_now(admission, _refusal(error))
            self._pump()

    def _let_in(self, admission: Admission, hard: Hard) -> None:
        if admission.connection is None:  # it left while the store was asked
            self._give_back(admission.request_id)
            self.done(admission, 0)
            return
        admission.admitted(hard)

    def _not_now(self, admission: Admission, error: InsulaError) -> None:
        """The quota says no: wait for it outside the queue's order, or refuse."""
        self.in_use -= 1
        wait_s = error.retry_after_s if isinstance(error, RateLimited) else None
        left = self._left(admission, admission.wait_s)
        if wait_s is None or wait_s > left or admission.connection is None:
            self.queue.settle(admission.request_id, 0)
            admission.refused(error)
            return
        self._put_back(admission, keep_charge=False)
        self._set_deadline(admission, left, error)
        self._park(admission.scope.tenant, admission.scope.key, wait_s)

    def _park(self, tenant: str, flow: str, wait_s: float) -> None:
        self.queue.block(tenant, flow)
        known = self._parked.pop((tenant, flow), None)
        if known is not None:
            known.cancel()
        delay = max(wait_s, _SOONEST_S)
        self._parked[tenant, flow] = self._loop.call_later(delay, self._wake, tenant, flow)

    def _wake(self, tenant: str, flow: str) -> None:
        timer = self._parked.pop((tenant, flow), None)
        if timer is not None:
            timer.cancel()
        self.queue.unblock(tenant, self._clock.monotonic_us(), flow)
        self._pump()

    def _throttle(self, retry_after_s: float) -> None:
        if not self._shut():
            self._allowed = max(1, min(self._allowed, self.in_use) // 2)
            self._went_well = 0
        self._shut_until = max(self._shut_until, self._loop.time() + retry_after_s)
        if self._opening is not None:
            self._opening.cancel()
        self._opening = self._loop.call_at(self._shut_until, self._open_again)

    def _open_again(self) -> None:
        self._opening = None
        self._shut_until = 0.0  # a timer may ring a moment early
        self._pump()

    def _reckon_anew(self) -> None:
        """A call has shown what such calls cost: those that wait are not taken for a guess any more."""
        for admission in self._waiting.values():
            if admission.guessed:
                admission.reckoned()

    # deadlines

    def _left(self, admission: Admission, wait_s: float) -> float:
        """Return how much of ``wait_s`` is left, in seconds."""
        return wait_s - (self._clock.monotonic_us() - admission.started_us) / 1_000_000

    def _deadline_of(self, admission: Admission) -> bool:
        """Give a call that waits for a slot its deadline; ``False`` if it does not wait at all."""
        if admission.request_id in self._deadlines:
            return True
        left = self._left(admission, admission.slot_wait_s)
        if left <= 0:
            return False
        self._set_deadline(admission, left, _busy())
        return True

    def _set_deadline(self, admission: Admission, left: float, reason: InsulaError) -> None:
        item_id = admission.request_id
        self._reasons[item_id] = reason
        known = self._deadlines.get(item_id)
        if known is not None:
            known[1].cancel()
        self._deadlines[item_id] = (left, self._loop.call_later(left, self._give_up, admission))

    def _give_up(self, admission: Admission) -> None:
        reason = self._reasons.get(admission.request_id) or _busy()
        if not self._forget(admission):
            return
        self.queue.cancel(admission.request_id)
        if isinstance(reason, RateLimited) and self._room():
            admission.queued = False
            admission.wait_s = 0.0
            self._attempt(admission)  # once more, so that a refusal tells the wait as it is now
        else:
            admission.refused(reason)
        self._pump()

    def _forget(self, admission: Admission) -> bool:
        """Take a call off the list of those that wait; ``False`` if it is not on it."""
        item_id = admission.request_id
        self._reasons.pop(item_id, None)
        deadline = self._deadlines.pop(item_id, None)
        if deadline is not None:
            deadline[1].cancel()
        return self._waiting.pop(item_id, None) is not None


def _busy() -> Overloaded:
    return Overloaded(
        "every slot of the model's endpoint is taken, and this call did not get one in the time it waits",
        hint="try again, or wait longer with x-insula-max-wait: SECONDS",
        retry_after_s=1,
        kind="queue_timeout",
    )


def _refusal(error: BaseException) -> InsulaError:
    """Return what to tell the caller; what nobody foresaw is told as a limit that cannot be decided."""
    if isinstance(error, InsulaError):
        return error
    _log.error("limits_failed", error=type(error).__name__, exc_info=error)
    return EnforcementUnavailable(
        "limits could not be decided", hint="nothing was spent; retry, or ask the operator", retry_after_s=1.0
    )


def _crowded() -> Overloaded:
    return Overloaded(
        f"{MOST_WAITING} calls of this tenant wait for the model's endpoint already",
        hint="send fewer at once",
        retry_after_s=1,
        kind="queue_full",
    )


def _throttled(retry_after_s: float) -> ModelFailed:
    return ModelFailed(
        "the model server is at its limit",
        hint="try again later",
        retry_after_s=retry_after_s,
        status=429,
        upstream_status=429,
    )
