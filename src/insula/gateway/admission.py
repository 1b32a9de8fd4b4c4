"""A call on its way in: judged and estimated, it waits for its turn and for its reservation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insula.governance import Hard, Need
from insula.governance.fairness import Item, Lane

if TYPE_CHECKING:
    from insula.gateway.ask import Ask
    from insula.gateway.caller import Identity
    from insula.gateway.connection import Connection
    from insula.gateway.pipeline import Pipeline
    from insula.gateway.turnstile import Turnstile
    from insula.gateway.valuation import Valuation
    from insula.governance import Scope
    from insula.kernel.errors import InsulaError
    from insula.models import Endpoint


class Admission:
    """What is known of a call before it is sent, and, while it waits, its connection's exchange.

    ``wait_s`` is how long its caller lets it wait for a quota, ``slot_wait_s`` for a free slot.
    ``read`` is the input it is taken for until the server tells, ``reserved_output`` the output its rates
    hold, ``bounded``: whether a budget bounds it.
    """

    __slots__ = (
        "_pipeline", "ask", "attempts", "bounded", "connection", "endpoint", "entered_us", "guessed", "hard",
        "identity", "item", "lane", "need", "queue_us", "queued", "read", "request_id",
        "reserved_output", "scope", "slot_wait_s", "started_at", "started_us", "turnstile", "valuation",
        "wait_s",
    )  # fmt: skip

    def __init__(
        self,
        pipeline: Pipeline,
        connection: Connection,
        identity: Identity,
        scope: Scope,
        ask: Ask,
        endpoint: Endpoint,
        valuation: Valuation,
        request_id: str,
        lane: Lane,
        started: tuple[float, int],
    ) -> None:
        self._pipeline = pipeline
        self.connection: Connection | None = connection
        self.identity = identity
        self.scope = scope
        self.ask = ask
        self.endpoint = endpoint
        self.valuation = valuation
        self.request_id = request_id
        self.lane = lane
        self.started_at, self.started_us = started
        self.entered_us = self.started_us
        self.need = Need.tokens()
        self.hard = Hard()
        self.read = ask.input_tokens
        self.reserved_output = 0
        self.bounded = False
        self.wait_s = self.slot_wait_s = 0.0
        self.queue_us = 0
        self.queued = False  # whether it came through the fair queue, which then knows it
        self.attempts = 0
        self.item: Item | None = None
        self.guessed = False  # whether nobody knows yet how long such calls take
        self.turnstile: Turnstile | None = None

    def reckoned(self) -> Item:
        """Return the call as the fair queue knows it, at what it is expected to cost by now."""
        cost, self.guessed = self._pipeline.estimating.expected_cost(self)
        if self.item is None:
            self.item = Item(self.request_id, self.scope.tenant, self.scope.key, self.lane, cost)
        self.item.cost = cost
        return self.item

    # what the turnstile says

    def admitted(self, hard: Hard) -> None:
        """Its turn has come and its reservation holds."""
        self.hard = hard
        self.queue_us += self._pipeline.parts.clock.monotonic_us() - self.entered_us
        self.attempts += 1
        self._pipeline.dispatch(self)

    def refused(self, error: InsulaError) -> None:
        """It will not be served."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.exchange = None
            self._pipeline.refuse(connection, error, self.identity, self.request_id)

    # Exchange, while it waits

    def gone(self) -> None:
        """The caller left before its turn: it has cost nothing."""
        self.connection = None
        if self.turnstile is not None:
            self.turnstile.leave(self)

    def pause(self) -> None:
        """Nothing is being sent yet."""

    def resume(self) -> None:
        """Nothing is being sent yet."""
