"""A call that this gateway reserved for, and what the store has yet to be told of it."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Literal

from insula.governance.quota.need import Amounts, Hard, Need
from insula.governance.scope import Scope
from insula.governance.stores.contract import Reserved
from insula.governance.stores.known import Route

What = Literal["progress", "settle", "cancel"]


class State(Enum):
    """Where a call's reservation is."""

    ASKED = "asked"
    HELD = "held"
    LOCAL = "local"
    ENDED = "ended"


class Call:
    """One reservation. ``hard`` is what the budgets hold; the rest belongs to the store's client.

    ``name`` is its id in the store. ``registered`` says whether the store knows of it, as far as is known
    here. ``used`` is cumulative, as the gateway told it last.
    """

    __slots__ = (
        "answer", "asked_us", "expires_us", "hard", "name", "need", "registered", "rid", "route", "scope",
        "sent", "state",
        "tries", "ttl_us", "used",
    )  # fmt: skip

    def __init__(self, scope: Scope, rid: str, route: Route, need: Need, ttl_us: int, asked_us: int) -> None:
        self.scope = scope
        self.rid = rid
        self.name = rid.encode()
        self.route = route
        self.need = need
        self.ttl_us = ttl_us
        self.asked_us = asked_us
        self.expires_us = asked_us + ttl_us
        self.answer: asyncio.Future[Reserved] = asyncio.get_running_loop().create_future()
        self.hard = Hard()
        self.used = Amounts()
        self.sent = False
        self.state = State.ASKED
        self.registered = True
        self.tries = 0

    @property
    def held(self) -> bool:
        """Whether it was admitted and runs."""
        return self.state is State.HELD or self.state is State.LOCAL

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.answer.cancelled() or self.state is State.ENDED

    def admit(self, hard: Hard, state: State) -> None:
        """The reservation is held; whoever waits is told."""
        self.hard = hard
        self.state = state
        if not self.answer.done():
            self.answer.set_result(self)

    def refuse(self, error: Exception) -> None:
        """The reservation is not held."""
        self.state = State.ENDED
        if not self.answer.done():
            self.answer.set_exception(error)


class Note:
    """What the store must be told of a call: how far it is, or that it ended. Kept until acknowledged.

    ``told_us`` is when it left last. ``booked``: it ended before this gateway met the store, so that its
    use is in the books.
    """

    __slots__ = ("booked", "call", "failures", "name", "stale", "told_us", "used", "what")

    def __init__(self, call: Call, what: What, used: Amounts) -> None:
        self.call = call
        self.name = call.name
        self.what: What = what
        self.used = used
        self.booked = False
        self.told_us: int | None = None
        self.stale = False
        self.failures = 0

    @property
    def final(self) -> bool:
        """Whether the call is over."""
        return self.what != "progress"
