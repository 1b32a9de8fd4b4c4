"""A reservation that was admitted, and what became of it."""

from __future__ import annotations

from enum import StrEnum

from insula.governance.quota.bucket import UNIT, Bucket
from insula.governance.quota.level import Measure, Path


class Expiry(StrEnum):
    """What a reservation that nobody settled is charged when its time is up."""

    ZERO = "zero"
    INPUT_ONLY = "input_only"
    FULL_HOLD = "full_hold"


class Grant:
    """One admitted reservation: the same hold in every bucket of its path.

    Public to callers: ``rid``, ``requests``, ``tokens`` (the estimate held), ``input_tokens`` (the part
    charged on expiry by default), ``expires_us``. The rest belongs to the governor.
    ``used`` counts tokens debited so far; ``held`` is what is still promised, in tokens; ``unsent`` is
    what is still promised in requests.
    """

    __slots__ = (
        "expires_us",
        "held",
        "input_tokens",
        "path",
        "requests",
        "reserved_us",
        "rid",
        "tokens",
        "unsent",
        "used",
    )

    def __init__(
        self, rid: str, path: Path, requests: int, tokens: int, input_tokens: int, now_us: int, ttl_us: int
    ) -> None:
        self.rid = rid
        self.path = path
        self.requests = self.unsent = requests
        self.tokens = self.held = tokens
        self.input_tokens = input_tokens
        self.used = 0
        self.reserved_us = now_us
        self.expires_us = now_us + ttl_us

    def hold(self, now_us: int) -> None:
        """Take the hold in every bucket."""
        requests, tokens = self.requests * UNIT, self.tokens * UNIT
        path = self.path
        for bucket in path.requests:
            bucket.pending += requests
        for bucket in path.tokens:
            bucket.pending += tokens
        for bucket in path.slots:
            bucket.pending += UNIT

    def adopt(self, measure: Measure, bucket: Bucket) -> None:
        """Take this grant's part in a bucket that was added while the call was running."""
        bucket.hold({"rpm": self.unsent, "tpm": self.held, "in_flight": 1}[measure] * UNIT)

    def send(self, now_us: int) -> None:
        """Use the request: from here on it is not given back."""
        ticks, self.unsent = self.unsent * UNIT, 0
        if ticks:
            for bucket in self.path.requests:
                bucket.use(ticks, ticks, now_us)

    def progress(self, total: int, now_us: int) -> None:
        """Use tokens up to ``total``, out of the hold first; beyond it a debt is left."""
        more = total - self.used
        if more <= 0:
            return
        promised = more if more < self.held else self.held
        self.used = total
        self.held -= promised
        for bucket in self.path.tokens:
            bucket.use(more * UNIT, promised * UNIT, now_us)

    def release(self) -> None:
        """Drop what is still promised."""
        requests, tokens = self.unsent * UNIT, self.held * UNIT
        path = self.path
        if requests:
            for bucket in path.requests:
                bucket.pending -= requests
        if tokens:
            for bucket in path.tokens:
                bucket.pending -= tokens
        for bucket in path.slots:
            bucket.pending -= UNIT
        self.unsent = self.held = 0

    def expire(self, policy: Expiry, now_us: int) -> None:
        """Charge by ``policy`` and drop the rest.

        Whether the request was sent is not known by now: unless the policy is ``ZERO``, assume it was.
        """
        if policy is not Expiry.ZERO:
            self.send(now_us)
            self.progress(self.tokens if policy is Expiry.FULL_HOLD else self.input_tokens, now_us)
        self.release()
