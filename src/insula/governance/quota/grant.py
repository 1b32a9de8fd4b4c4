"""A reservation that was admitted, and what became of it."""

from __future__ import annotations

from enum import StrEnum

from insula.governance.quota.bucket import UNIT, Bucket
from insula.governance.quota.budget import Budget
from insula.governance.quota.level import Measure, Path
from insula.governance.quota.need import Amounts, Hard, Need

RATE_KINDS: dict[Measure, int] = {"rpm": 0, "tpm": 1, "input_tpm": 2, "output_tpm": 3}
"""Where the amount that a rate counts stands in ``Amounts``."""


class Expiry(StrEnum):
    """What a reservation that nobody settled is charged when its time is up."""

    ZERO = "zero"
    INPUT_ONLY = "input_only"
    FULL_HOLD = "full_hold"


class Grant:
    """One admitted reservation: the same hold in every counter of its path.

    Public to callers: ``rid``, ``need``, ``hard`` (what the budgets hold, the most the call may use) and
    ``expires_us``. The rest belongs to the governor. ``used`` counts what was debited so far; ``held`` is
    what is still promised.
    """

    __slots__ = ("expires_us", "hard", "held", "need", "path", "reserved_us", "rid", "used")

    def __init__(self, rid: str, path: Path, need: Need, hard: Hard, now_us: int, ttl_us: int) -> None:
        self.rid = rid
        self.path = path
        self.need = need
        self.hard = hard
        self.held = need.estimate
        self.used = Amounts()
        self.reserved_us = now_us
        self.expires_us = now_us + ttl_us

    def hold(self) -> None:
        """Take the hold in every counter."""
        path = self.path
        requests, quota, read, produced, _ = self.held
        for bucket in path.requests:
            bucket.pending += requests * UNIT
        for bucket in path.tokens:
            bucket.pending += quota * UNIT
        for bucket in path.inputs:
            bucket.pending += read * UNIT
        for bucket in path.outputs:
            bucket.pending += produced * UNIT
        for bucket in path.slots:
            bucket.pending += UNIT
        self._promise(self.hard)

    def adopt(self, measure: Measure, counter: Bucket | Budget) -> None:
        """Take this grant's part in a counter that was added while the call was running."""
        if isinstance(counter, Budget):
            counter.pending += self.hard.quota if counter.kind == "quota" else self.hard.nanousd
        elif measure == "in_flight":
            counter.hold(UNIT)
        else:
            counter.hold(self.held[RATE_KINDS[measure]] * UNIT)

    def send(self, now_us: int) -> None:
        """Use the request: from here on it is not given back."""
        requests = self.held.requests
        if requests:
            self.held = self.held._replace(requests=0)
            for bucket in self.path.requests:
                bucket.use(requests * UNIT, requests * UNIT, now_us)

    def progress(self, total: Amounts, now_us: int) -> None:
        """Use tokens up to ``total``, out of the hold first; beyond it a debt is left."""
        path, used, held = self.path, self.used, self.held
        quota = _debit(path.tokens, total.quota - used.quota, held.quota, now_us)
        read = _debit(path.inputs, total.input - used.input, held.input, now_us)
        produced = _debit(path.outputs, total.output - used.output, held.output, now_us)
        self.held = Amounts(held.requests, quota, read, produced, 0)
        self.used = Amounts(
            used.requests,
            max(used.quota, total.quota),
            max(used.input, total.input),
            max(used.output, total.output),
            max(used.nanousd, total.nanousd),
        )

    def extend(self, more: Hard) -> None:
        """Raise what the budgets hold."""
        self.hard = Hard(self.hard.quota + more.quota, self.hard.nanousd + more.nanousd)
        self._promise(more)

    def count(self, total: Amounts, hour: int) -> None:
        """Write what the call used in all into the meters that budgets and policies read."""
        for meter in self.path.meters:
            meter.at(hour)
            meter.add(total.quota, total.nanousd)

    def release(self) -> None:
        """Drop what is still promised."""
        path = self.path
        requests, quota, read, produced, _ = self.held
        if requests:
            for bucket in path.requests:
                bucket.pending -= requests * UNIT
        if quota:
            for bucket in path.tokens:
                bucket.pending -= quota * UNIT
        if read:
            for bucket in path.inputs:
                bucket.pending -= read * UNIT
        if produced:
            for bucket in path.outputs:
                bucket.pending -= produced * UNIT
        for bucket in path.slots:
            bucket.pending -= UNIT
        self._promise(Hard(-self.hard.quota, -self.hard.nanousd))
        self.held = Amounts()
        self.hard = Hard()

    def expire(self, policy: Expiry, now_us: int) -> None:
        """Charge rates by ``policy`` and drop the rest.

        Whether the request was sent is not known by now: unless the policy is ``ZERO``, assume it was.
        Budgets are not charged: they follow the books, and the books know nothing of this call yet.
        """
        if policy is not Expiry.ZERO:
            self.send(now_us)
            whole = policy is Expiry.FULL_HOLD
            self.progress(self.need.estimate if whole else self.need.charge, now_us)
        self.release()

    def _promise(self, more: Hard) -> None:
        for budget in self.path.periods:
            budget.pending += more.quota
        for budget in self.path.money:
            budget.pending += more.nanousd


def _debit(buckets: tuple[Bucket, ...], more: int, held: int, now_us: int) -> int:
    """Take ``more`` from ``buckets``, out of ``held`` first; return what is still held."""
    if more <= 0:
        return held
    promised = more if more < held else held
    for bucket in buckets:
        bucket.use(more * UNIT, promised * UNIT, now_us)
    return held - promised
