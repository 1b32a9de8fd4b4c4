"""What tasks and calls have in common before the ledger: the book, the memory, and how it says no."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from insula.governance.ledger.answer import Answer, Exhausted, Full, Refusal, Stale
from insula.governance.ledger.book import Book
from insula.governance.ledger.memory import Memory
from insula.governance.ledger.reservation import Reservation

_A = TypeVar("_A", bound=Answer)


class Desk:
    """The state of a ledger, and the decisions that all operations share."""

    __slots__ = ("book", "memory")

    def __init__(self, book: Book, memory: Memory) -> None:
        self.book = book
        self.memory = memory

    def _once(self, key: str, seq: int | None, act: Callable[[], _A]) -> _A | Stale:
        """Do ``act`` unless ``(key, seq)`` was done before; then return what was answered.

        A refusal is not remembered: it did nothing, so asking again is a new question.
        """
        if seq is None:
            return act()
        before = self.memory.recall(key, seq)
        if before is not None:
            return before  # type: ignore[return-value]  # the same seq names the same operation
        answer = act()
        if not isinstance(answer, Refusal):
            self.memory.note(key, seq, answer, self.book.now_us)
        return answer

    def _room(self, who: Reservation | None, want: int) -> int:
        """What a call may take. Before it goes short or into debt, the idle donate."""
        own = who.unused if who is not None else 0
        if own + max(0, self.book.free) < want:
            self.book.sweep()
        return self.book.room(who)

    def _refusal(self, asked: int, overdraft: int) -> Refusal:
        """Say whether the period is over or running work stands in the way."""
        book = self.book
        if asked > book.limit - book.settled + overdraft:
            return Exhausted(asked, book.free, book.limit, book.settled)
        return self._full(asked, book.free)

    def _full(self, asked: int, free: int, *, of_parent: bool = False) -> Full:
        book = self.book
        level: Literal["tenant", "parent"] = "parent" if of_parent else "tenant"
        return Full(asked, free, book.donatable(), book.reserved(), book.held(), book.claimed(), level)
