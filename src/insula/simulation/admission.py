"""The real governor, with the checks beside it: what is reserved, used, settled and expired."""

from __future__ import annotations

from collections.abc import Callable

from insula.governance import Governor, Scope
from insula.governance.quota.need import Amounts, Hard, Need
from insula.simulation.call import Call
from insula.simulation.checks import Books, LimitChecks, Usage, Violations
from insula.simulation.ledgers import Ledgers
from insula.simulation.service import Service
from insula.simulation.timeline import GatewayClock
from insula.simulation.work import SECOND_US

MAX_TOKENS = 4096
"""What a caller asks for at most, unless its call turns out longer."""


class Admission:
    """Tells the governor of every call, and the checks what they must know to judge it.

    ``expired`` is told of each call that nobody settled in time, with the output charged for it.
    """

    def __init__(
        self,
        governor: Governor,
        limits: LimitChecks,
        books: Books,
        violations: Violations,
        clock: GatewayClock,
        service: Service,
        ledgers: Ledgers,
        expired: Callable[[Call, int], None],
    ) -> None:
        self._governor = governor
        self._limits = limits
        self._books = books
        self._violations = violations
        self._clock = clock
        self._service = service
        self._ledgers = ledgers
        self._expired = expired
        self._calls: dict[str, Call] = {}

    def reserve(self, call: Call, run: str | None, *, requests: int = 1) -> None:
        """Hold what the call is expected to use; cut its output to what hard budgets have left.

        Raises the governor's ``LimitError``.
        """
        if self._limits.overdue(self._clock()):
            self.expire()
        prompt, ceiling = call.step.prompt, max_tokens(call)
        need = Need(
            Amounts(requests, prompt + call.estimate, prompt, call.estimate, 0),
            cap=Hard(prompt + ceiling),
            want=Hard(prompt + call.estimate),
            least=Hard(prompt + 1),
            charge=Amounts(0, prompt, prompt, 0, 0),
            run=run,
        )
        ttl_us = self.ttl_us(call)
        scope = Scope(call.run.tenant, call.run.agent)
        grant = self._governor.reserve(scope, call.id, need, ttl_us / SECOND_US)
        held = grant.hard.quota
        if held < call.tokens:
            held = self._governor.extend(call.id, Hard(call.tokens - held)).quota
        call.output = max(1, min(call.output, held - prompt))
        keys = tuple(key for _, key in scope.levels())
        self._limits.reserved(call.id, keys, prompt + call.estimate, prompt, self._clock() + ttl_us)
        self._calls[call.id] = call

    def ttl_us(self, call: Call) -> int:
        """Return how long a hold may live: twice what the longest possible answer takes, and a minute."""
        longest = call.step.prompt * self._service.input_us + max_tokens(call) * self._service.output_us
        return 2 * longest + 60 * SECOND_US

    def left_us(self, call: Call) -> int | None:
        """Return how long a call's hold lives on; ``None`` if it is gone."""
        until_us = self._limits.until_us(call.id)
        return None if until_us is None else until_us - self._clock()

    def sent(self, call: Call) -> None:
        """Note that the request went out."""
        self._governor.sent(call.id)
        self._limits.sent(call.id, self._clock())

    def progress(self, call: Call, output: int) -> None:
        """Note what a running call has made so far."""
        used = _used(call.step.prompt, output)
        self._governor.progress(call.id, used)
        self._books.debited(call.id, self._limits.used(call.id, used.quota, self._clock()))
        self._surely_used(call, used.quota)

    def settle(self, call: Call) -> bool:
        """End a call; return whether this settlement was the first."""
        debited = self._governor.settle(call.id, _used(call.step.prompt, call.output)).quota
        self._limits.sent(call.id, self._clock())
        more = self._limits.used(call.id, call.tokens, self._clock())
        told = "{}: settlement debited {}, {} were left to debit"
        self._violations.check("P3", debited == more, told, call.id, debited, more)
        self._books.debited(call.id, debited)
        self._books.record(_usage(call, call.output))
        self._limits.ended(call.id)
        return self._calls.pop(call.id, None) is not None

    def expire(self) -> None:
        """End the holds whose time is up: their input is charged, their event is partial."""
        now = self._clock()
        for rid in self._governor.expire():
            call, before = self._calls[rid], self._limits.used_by(rid)
            used = self._limits.expired(rid, now)
            self._books.debited(rid, used - before)
            self._books.record(_usage(call, used - call.step.prompt, partial=True))
            self._expired(call, used - call.step.prompt)
        self._violations.check("P9", not self._limits.still_held(now), "a hold outlived its time")

    def _surely_used(self, call: Call, tokens: int) -> None:
        pool = self._ledgers.pool_of(call.run.tenant)
        if pool is not None:
            pool.surely_used(call.id, tokens)

    def close(self) -> None:
        """Check that nothing is held when all is over."""
        self._violations.check("P3", self._governor.in_flight() == 0, "reservations are left at the end")
        self._books.close()


def max_tokens(call: Call) -> int:
    """Return the ``max_tokens`` that the caller sent."""
    return max(MAX_TOKENS, call.step.output)


def _used(prompt: int, output: int) -> Amounts:
    return Amounts(0, prompt + output, prompt, output, 0)


def _usage(call: Call, output: int, *, partial: bool = False) -> Usage:
    return Usage(call.id, call.run.tenant, call.step.prompt, call.step.cached, output, partial)
