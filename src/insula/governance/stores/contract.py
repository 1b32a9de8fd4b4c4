"""What the gateway asks of whoever keeps the counters, wherever they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from insula.governance.quota.limits import Limits
from insula.governance.quota.meter import Use, Window
from insula.governance.quota.need import Amounts, Hard, Need
from insula.governance.quota.standing import Standing
from insula.governance.scope import Scope

T = TypeVar("T")
Soon: TypeAlias = T | asyncio.Future[T]
"""An answer, or the promise of one: counters in this process answer at once."""


ReadBooks = Callable[[float], Awaitable[Mapping[str, Sequence[tuple[int, Use]]]]]
"""Reads what every level used this month up to a moment: every call that ended by then, and no other.

By level: hours since the epoch, and what was used in each; an hour may come more than once.
"""


class Ended(NamedTuple):
    """A call that ended, by the usage records."""

    scope: Scope
    rid: str
    used: Amounts


class Reserved(Protocol):
    """A reservation that was admitted. ``hard`` is what the budgets hold: the most the call may use."""

    @property
    def hard(self) -> Hard: ...


class LimitStore(Protocol):
    """Counters of all levels. All decisions are all-or-nothing over a scope's whole path, in one step.

    ``reserve`` and ``extend`` answer, or promise to; a refusal is raised, or is the promise's exception:
    ``RateLimited``, ``BudgetExhausted``, ``ExceedsLimit``, or ``EnforcementUnavailable`` when the counters
    cannot be reached and what they guard fails closed. The others return at once and are never lost while
    the process lives: a store that is away hears of them when it is back.
    """

    def reserve(self, scope: Scope, rid: str, need: Need, ttl_s: float) -> Soon[Reserved]:
        """Hold what a call needs on every level, or nothing. The same ``rid`` again: the first answer."""
        ...

    def sent(self, rid: str) -> None:
        """The request went upstream: it counts, and is not given back."""
        ...

    def progress(self, rid: str, used: Amounts) -> None:
        """The call has used so much so far (cumulative)."""
        ...

    def extend(self, rid: str, more: Hard) -> Soon[Hard]:
        """Raise what the budgets hold by up to ``more``; what they hold now, which may be no more."""
        ...

    def settle(self, rid: str, used: Amounts) -> object:
        """End the call at ``used`` in all. A second settle does nothing."""
        ...

    def cancel(self, rid: str) -> None:
        """Give back a reservation whose request was never sent."""
        ...

    def standing(self, scope: Scope) -> Standing:
        """Where a scope stands, as far as is known here."""
        ...

    def strict(self, scope: Scope) -> bool:
        """Whether estimates must reserve all of ``max_tokens``."""
        ...

    def budgeted(self, scope: Scope) -> bool:
        """Whether any level of a scope has a calendar budget, or its tenant a ledger."""
        ...

    def pays(self, scope: Scope) -> bool:
        """Whether any level of a scope has a budget of money."""
        ...

    def queue_wait_s(self, scope: Scope) -> int | None:
        """How long a call may wait at most for its quota; ``None``: nobody says."""
        ...

    def used(self, key: str, window: Window) -> Use:
        """What a level that has a budget or a policy used in the present window, as far as is known here."""
        ...

    def limits(self, key: str) -> Limits:
        """The limits in force at a level."""
        ...

    def set_limits(self, key: str, limits: Limits | None) -> None:
        """Change a level's limits from now on; ``None``: back to what the tier says."""
        ...

    def ledgered(self, scope: Scope) -> bool:
        """Whether a scope's calls draw on a ledger of its tenant."""
        ...

    def in_flight(self) -> int:
        """How many reservations of this process are running."""
        ...
