"""What was answered before: an operation that comes twice is done once and gets the first answer again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from insula.governance.ledger.answer import Answer, Closed, Settled, Stale

ANSWERS_KEPT = 16
"""Answers kept per reservation: a repetition follows its original closely or not at all."""

ENDED_KEPT = 1_024
"""Ended calls, and ended reservations, that are remembered at most."""

REMEMBER_US = 3_600_000_000
"""How long they are remembered at most."""


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

    ended_us: int
    granted: int
    charged: int
    answer: Settled | None


@dataclass(slots=True)
class Past:
    """What was answered to a reservation that has ended, or (``closed`` is ``None``) to a stranger."""

    ended_us: int
    closed: Closed | None
    answers: Answers


_E = TypeVar("_E", Past, EndedCall)


class Memory:
    """Bounded, whatever comes: what lives is remembered, and for a while what has ended.

    Keys of ``answers`` are the ids of open reservations. ``past`` and ``calls`` have the oldest first.
    """

    __slots__ = ("answers", "calls", "past")

    def __init__(self) -> None:
        self.answers: dict[str, Answers] = {}
        self.past: dict[str, Past] = {}
        self.calls: dict[str, EndedCall] = {}

    def recall(self, key: str, seq: int) -> Answer | None:
        known = self._of(key)
        return known.recall(seq) if known is not None else None

    def note(self, key: str, seq: int, answer: Answer, now_us: int) -> None:
        known = self._of(key)
        if known is None:
            known = Answers()
            _end(self.past, key, Past(now_us, None, known))
        known.note(seq, answer)

    def begin(self, key: str) -> None:
        """Keep what is answered to ``key`` until it ends, with what was answered to it before."""
        before = self.past.pop(key, None)
        self.answers[key] = before.answers if before is not None else Answers()

    def end(self, key: str, closed: Closed, now_us: int) -> None:
        """Keep what was answered to ``key`` for a while longer."""
        _end(self.past, key, Past(now_us, closed, self.answers.pop(key)))

    def end_call(self, call: str, ended: EndedCall) -> None:
        _end(self.calls, call, ended)

    def closed(self, key: str) -> Closed | None:
        """Return what was answered when the reservation ended; ``None`` if it is open or not known."""
        past = self.past.get(key)
        return past.closed if past is not None else None

    def has_old(self, now_us: int) -> bool:
        """Whether there is something to forget."""
        return _first_is_old(self.past, now_us) or _first_is_old(self.calls, now_us)

    def forget_old(self, now_us: int) -> None:
        """Forget what ended too long ago to be repeated."""
        for kept in (self.past, self.calls):
            while _first_is_old(kept, now_us):
                del kept[next(iter(kept))]

    def _of(self, key: str) -> Answers | None:
        living = self.answers.get(key)
        if living is not None:
            return living
        past = self.past.get(key)
        return past.answers if past is not None else None


def _end(kept: dict[str, _E], key: str, ended: _E) -> None:
    kept.pop(key, None)
    kept[key] = ended
    if len(kept) > ENDED_KEPT:
        del kept[next(iter(kept))]


def _first_is_old(kept: dict[str, Past] | dict[str, EndedCall], now_us: int) -> bool:
    return bool(kept) and kept[next(iter(kept))].ended_us + REMEMBER_US <= now_us
