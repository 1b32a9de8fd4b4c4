"""Where a tenant stands, for people and for metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from insula.governance.ledger.book import Book
from insula.governance.ledger.reservation import Reservation


@dataclass(frozen=True, slots=True)
class TaskStanding:
    """One reservation. ``used`` is all that the task used, ``beyond`` the part it had not set aside."""

    rid: str
    agent: str
    parent: str | None
    state: str
    granted: int
    used: int
    beyond: int
    held: int
    unused: int
    donated: int
    claimed: int


@dataclass(frozen=True, slots=True)
class LedgerStanding:
    """All in tokens. ``limit`` = ``settled`` + ``unused`` + ``held`` + ``free``; ``free`` below 0 is a debt.

    ``donated``, ``reclaimed``, ``late`` and ``overrun`` count since the ledger was made; ``claimed`` is
    what is owed now to tasks that lent and work again.
    """

    period: str
    limit: int
    overdraft: int
    settled: int
    unused: int
    held: int
    free: int
    claimed: int
    donated: int
    reclaimed: int
    late: int
    overrun: int
    tasks: tuple[TaskStanding, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"tasks": [asdict(task) for task in self.tasks]}


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all tenants. The refusals and the last four count; the others stand at what is now."""

    ledgers: int
    reservations: int
    calls: int
    settled: int
    unused: int
    held: int
    debt: int
    claimed: int
    refused_exhausted: int
    refused_full: int
    donated: int
    reclaimed: int
    late: int
    overrun: int


def standing_of(book: Book) -> LedgerStanding:
    """Return where a book stands."""
    tasks = tuple(_task(one, book) for one in book.open.values())
    return LedgerStanding(
        book.period,
        book.limit,
        book.overdraft,
        book.settled,
        book.reserved(),
        book.held(),
        book.free,
        book.claimed(),
        **book.totals.as_dict(),
        tasks=tasks,
    )


def _task(one: Reservation, book: Book) -> TaskStanding:
    claimed = one.donated if one.rid in book.queue else 0
    return TaskStanding(
        one.rid,
        one.agent,
        one.parent,
        str(one.state),
        one.granted,
        one.used + one.beyond,
        one.beyond,
        one.held,
        one.unused,
        one.donated,
        claimed,
    )


def totals_of(books: Sequence[Book], exhausted: int, full: int) -> Totals:
    """Return the sums over ``books`` and the two counts of refusals."""
    return Totals(
        ledgers=len(books),
        reservations=sum(len(book.open) for book in books),
        calls=sum(len(book.holds) for book in books),
        settled=sum(book.settled for book in books),
        unused=sum(book.reserved() for book in books),
        held=sum(book.held() for book in books),
        debt=sum(max(0, -book.free) for book in books),
        claimed=sum(book.claimed() for book in books),
        refused_exhausted=exhausted,
        refused_full=full,
        donated=sum(book.totals.donated for book in books),
        reclaimed=sum(book.totals.reclaimed for book in books),
        late=sum(book.totals.late for book in books),
        overrun=sum(book.totals.overrun for book in books),
    )
