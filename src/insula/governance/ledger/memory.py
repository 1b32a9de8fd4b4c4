"""What was answered before: an operation that comes twice is done once and gets the first answer again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from insula.governance.ledger.answer import Answer, Closed, Settled, Stale

ANSWERS_KEPT = 16
"""Answers kept per reservation: a repetition follows its original closely or not at all."""

ENDED_KEPT = 1_024
"""Ended calls, and ended reservations, that are remembered."""


@dataclass(slots=True)
class Answers:
    """Answers by sequence number. They may come out of order; those up to ``horizon`` are too old."""

    horizon: int = -1
    given: dict[int, Answer] = field(default_factory=dict)

    def recall(self, seq: int) -> Answer | None:
        """Return the first answer to ``seq``, ``Stale`` when it is forgotten, ``None`` when it is new."""
        if seq <= self.horizon:
            return Stale()
        return self.given.get(seq)

    def note(self, seq: int, answer: Answer) -> None:
        """Remember an answer; the lowest number is forgotten when there are too many."""
        self.given[seq] = answer
        if len(self.given) > ANSWERS_KEPT:
            self.horizon = min(self.given)
            del self.given[self.horizon]


@dataclass(slots=True)
class EndedCall:
    """A call that holds nothing any more. ``answer`` is ``None`` while an expired call may still settle.

    ``granted`` was the first answer to its hold, ``charged`` is what its expiry debited.
    """

    granted: int
    charged: int
    answer: Settled | None


class Memory:
    """Bounded, whatever comes: what lives is remembered, and the last ``ENDED_KEPT`` that ended.

    Keys of ``answers`` are the ids of open reservations; ``past`` has those of ended ones and of strangers.
    """

    __slots__ = ("answers", "calls", "closed", "past")

    def __init__(self) -> None:
        self.answers: dict[str, Answers] = {}
        self.past: dict[str, Answers] = {}
        self.closed: dict[str, Closed] = {}
        self.calls: dict[str, EndedCall] = {}

    def recall(self, key: str, seq: int) -> Answer | None:
        known = self.answers.get(key) or self.past.get(key)
        return known.recall(seq) if known is not None else None

    def note(self, key: str, seq: int, answer: Answer) -> None:
        known = self.answers.get(key) or self.past.get(key)
        if known is None:
            known = self.past[key] = Answers()
            _bound(self.past)
        known.note(seq, answer)

    def begin(self, key: str) -> None:
        """Keep what is answered to ``key`` until it ends, with what was answered to it before."""
        self.closed.pop(key, None)
        self.answers[key] = self.past.pop(key) if key in self.past else Answers()

    def end(self, key: str, closed: Closed) -> None:
        """Keep what was answered to ``key`` for a while longer."""
        self.past[key] = self.answers.pop(key)
        self.closed[key] = closed
        _bound(self.past)
        _bound(self.closed)

    def end_call(self, call: str, ended: EndedCall) -> None:
        self.calls[call] = ended
        _bound(self.calls)


def _bound(kept: dict[str, Any]) -> None:
    """Forget the oldest when there are too many."""
    if len(kept) > ENDED_KEPT:
        del kept[next(iter(kept))]
