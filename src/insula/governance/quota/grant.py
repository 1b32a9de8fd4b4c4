"""A reservation that was admitted, and what became of it."""

from __future__ import annotations

from enum import StrEnum

from insula.governance.quota.bucket import UNIT, Bucket
from insula.governance.quota.budget import Budget
from insula.governance.quota.level import Measure, Path
from insula.governance.quota.need import Amounts, Hard, Need

LATE_US = 86_400_000_000
"""For so long after its time, a reservation that came free may still be settled: then what it used counts."""


class Expiry(StrEnum):
    """What a reservation that nobody settled is charged when its time is up."""

    ZERO = "zero"
    INPUT_ONLY = "input_only"
    FULL_HOLD = "full_hold"


class Grant:
    """One admitted reservation: the same hold in every counter of its path.

    Public to callers: ``rid``, ``need``, ``hard`` (what the budgets hold, the most the call may use) and
    ``expires_us``. The rest belongs to the governor: by kind, what was debited so far and what is still
    promised. Plain numbers, because every call of every tenant passes here.
    """

    __slots__ = (
        "expires_us", "hard", "held_input", "held_output", "held_quota", "held_requests", "need", "path",
        "reserved_us", "rid", "used_input", "used_output", "used_quota",
    )  # fmt: skip

    def __init__(self, rid: str, path: Path, need: Need, hard: Hard, now_us: int, ttl_us: int) -> None:
        self.rid = rid
        self.path = path
        self.need = need
        self.hard = hard
        self.held_requests, self.held_quota, self.held_input, self.held_output, _ = need.estimate
        self.used_quota = self.used_input = self.used_output = 0
        self.reserved_us = now_us
        self.expires_us = now_us + ttl_us

    def hold(self) -> None:
        """Take the hold in every counter."""
        path = self.path
        for bucket in path.requests:
            bucket.pending += self.held_requests * UNIT
        for bucket in path.tokens:
            bucket.pending += self.held_quota * UNIT
        for bucket in path.inputs:
            bucket.pending += self.held_input * UNIT
        for bucket in path.outputs:
            bucket.pending += self.held_output * UNIT
        for bucket in path.slots:
            bucket.pending += UNIT
        if path.budgeted:
            self._promise(self.hard.quota, self.hard.nanousd)

    def adopt(self, measure: Measure, counter: Bucket | Budget) -> None:
        """Take this grant's part in a counter that was added while the call was running."""
        if isinstance(counter, Budget):
            counter.pending += self.hard.quota if counter.kind == "quota" else self.hard.nanousd
            return
        held = {
            "rpm": self.held_requests,
            "tpm": self.held_quota,
            "input_tpm": self.held_input,
            "output_tpm": self.held_output,
        }
        counter.hold(held.get(measure, 1) * UNIT)

    def send(self, now_us: int) -> None:
        """Use the request: from here on it is not given back."""
        ticks, self.held_requests = self.held_requests * UNIT, 0
        if ticks:
            for bucket in self.path.requests:
                bucket.use(ticks, ticks, now_us)

    def progress(self, total: Amounts, now_us: int) -> None:
        """Use tokens up to ``total``, out of the hold first; beyond it a debt is left."""
        path = self.path
        quota, read, produced = total.quota, total.input, total.output
        if quota > self.used_quota:
            self.held_quota = _debit(path.tokens, quota - self.used_quota, self.held_quota, now_us)
            self.used_quota = quota
        if read > self.used_input:
            self.held_input = _debit(path.inputs, read - self.used_input, self.held_input, now_us)
            self.used_input = read
        if produced > self.used_output:
            self.held_output = _debit(path.outputs, produced - self.used_output, self.held_output, now_us)
            self.used_output = produced

    def finish(self, total: Amounts, now_us: int) -> None:
        """End at ``total``: debit what is left to debit and drop every promise, in one round."""
        path = self.path
        if self.held_requests:
            self.send(now_us)
        self.used_quota = _end(path.tokens, self.used_quota, total.quota, self.held_quota, now_us)
        self.used_input = _end(path.inputs, self.used_input, total.input, self.held_input, now_us)
        self.used_output = _end(path.outputs, self.used_output, total.output, self.held_output, now_us)
        for bucket in path.slots:
            bucket.pending -= UNIT
        if path.budgeted:
            self._promise(-self.hard.quota, -self.hard.nanousd)

    def extend(self, more: Hard) -> None:
        """Raise what the budgets hold."""
        self.hard = Hard(self.hard.quota + more.quota, self.hard.nanousd + more.nanousd)
        self._promise(more.quota, more.nanousd)

    def count(self, total: Amounts, hour: int) -> None:
        """Write what the call used in all into the meters that budgets and policies read."""
        for meter in self.path.meters:
            meter.at(hour)
            meter.add(total.quota, total.nanousd)

    def release(self) -> None:
        """Drop what is still promised."""
        path = self.path
        if self.held_requests:
            for bucket in path.requests:
                bucket.pending -= self.held_requests * UNIT
        if self.held_quota:
            for bucket in path.tokens:
                bucket.pending -= self.held_quota * UNIT
        if self.held_input:
            for bucket in path.inputs:
                bucket.pending -= self.held_input * UNIT
        if self.held_output:
            for bucket in path.outputs:
                bucket.pending -= self.held_output * UNIT
        for bucket in path.slots:
            bucket.pending -= UNIT
        if path.budgeted:
            self._promise(-self.hard.quota, -self.hard.nanousd)
        self.held_requests = self.held_quota = self.held_input = self.held_output = 0
        self.hard = _NOTHING

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

    def _promise(self, quota: int, nanousd: int) -> None:
        for budget in self.path.periods:
            budget.pending += quota
        for budget in self.path.money:
            budget.pending += nanousd


def _end(buckets: tuple[Bucket, ...], used: int, total: int, held: int, now_us: int) -> int:
    """Debit what ``total`` exceeds ``used`` by and drop all that is held; return what is used in all."""
    if total <= used:
        for bucket in buckets:
            bucket.pending -= held * UNIT
        return used
    ticks, promised = (total - used) * UNIT, held * UNIT
    for bucket in buckets:
        bucket.use(ticks, promised, now_us)
    return total


_NOTHING = Hard()


def _debit(buckets: tuple[Bucket, ...], more: int, held: int, now_us: int) -> int:
    """Take ``more`` from ``buckets``, out of ``held`` first; return what is still held."""
    promised = more if more < held else held
    for bucket in buckets:
        bucket.use(more * UNIT, promised * UNIT, now_us)
    return held - promised
