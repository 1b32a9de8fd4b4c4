"""Asks the store for a reservation, and decides alone where no answer comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from insula.governance.quota.meter import HOUR_S
from insula.governance.quota.refusal import explain
from insula.governance.stores.books import Books
from insula.governance.stores.call import Call, State
from insula.governance.stores.exchange import Code, Exchange
from insula.governance.stores.fallback import RETRY_AFTER_S, Fallback, Outages, unavailable
from insula.governance.stores.known import Known
from insula.governance.stores.record import read_hard
from insula.governance.stores.telling import Telling
from insula.governance.stores.wire import ReplyError
from insula.kernel.errors import EnforcementUnavailable, InsulaError

_TRIES: Final = 3
_HOUR_US: Final = HOUR_S * 1_000_000


class Deciding:
    """Calls by id, from the moment they ask until they end. ``fallback`` is there while it decides alone."""

    def __init__(
        self,
        exchange: Exchange,
        known: Known,
        books: Books,
        telling: Telling,
        *,
        within_us: int,
        alone: Callable[[], Fallback],
    ) -> None:
        self.calls: dict[str, Call] = {}
        self.fallback: Fallback | None = None
        self.outages = Outages()
        self._exchange = exchange
        self._known = known
        self._books = books
        self._telling = telling
        self._within_us = within_us
        self._alone_at_first = alone

    def ask(self, call: Call) -> None:
        """Ask for a call's reservation; its ``answer`` will be set."""
        call.tries += 1
        if self._exchange.up:
            self._exchange.reserve(call, self._within_us, lambda reply: self._answer(call, reply))
        else:
            self._alone(call)

    def refuse(self, call: Call, error: Exception) -> None:
        """A call is not to run."""
        if self.calls.get(call.rid) is call:
            del self.calls[call.rid]
        call.refuse(error)

    def close(self, call: Call, error: InsulaError) -> None:
        """A call is not to run because nobody can say whether it may."""
        self.outages.failed_closed += 1
        self.refuse(call, error)

    def _answer(self, call: Call, reply: object) -> None:
        found = self._exchange.read(reply)
        code = None if found is None else Code(found[0])
        if found is not None and code is Code.DONE:
            self._admit(call, found)
        elif found is not None and code is Code.REFUSED:
            self._known.learn(call.route, found[2:])
            self.refuse(call, self._explain(call, found[1]))
        elif found is not None and code is Code.UNREAD:
            self._wait_for_books(call, found[2])
        elif (code is Code.LATE or isinstance(reply, ReplyError)) and self._may_ask_again(call):
            self.ask(call)
        else:
            self._withdraw(call)

    def _may_ask_again(self, call: Call) -> bool:
        return call.tries < _TRIES and self._exchange.up

    def _admit(self, call: Call, found: list[Any]) -> None:
        self._known.learn(call.route, found[3:])
        if call.given_up:
            self._drop(call)
        else:
            call.admit(read_hard(found[2]), State.HELD)

    def _drop(self, call: Call) -> None:
        if self.calls.get(call.rid) is call:
            del self.calls[call.rid]
        self._telling.tell(call, "cancel")

    def _explain(self, call: Call, now_us: int) -> Exception:
        ground = self._exchange.link.ground
        assert ground is not None
        path = self._known.path(call.route, ground, now_us)
        try:
            return explain(path, call.need, now_us, now_us // _HOUR_US).error()
        except StopIteration:  # the records say otherwise: the limits were changed meanwhile
            return unavailable("limits are being changed")

    def _wait_for_books(self, call: Call, told: int) -> None:
        """The store was not told yet what some gateways used before; ``told`` is by how many it was."""
        if not self._books.told and call.tries < _TRIES:
            self._books.attempt().add_done_callback(lambda _done: self.ask(call))
        elif not self._books.told:
            self.close(call, unavailable("what was used so far cannot be read from the usage records"))
        else:
            self.close(call, _untold(told))

    def _withdraw(self, call: Call) -> None:
        """No answer came: whatever the store made of it is taken back, and this gateway decides alone."""
        if call.given_up:
            self._drop(call)
            return
        self._telling.tell(call, "cancel")
        if self._exchange.up:
            self.close(call, unavailable("the store of limits gives no answer"))
        else:
            self._alone(call)

    def _alone(self, call: Call) -> None:
        """Decide without the store, which will know the call by a name of its own."""
        if self.fallback is None:
            self.fallback = self._alone_at_first()
        try:
            grant = self.fallback.reserve(call.scope, call.rid, call.need, call.ttl_us / 1e6)
        except EnforcementUnavailable as error:
            self.close(call, error)
            return
        except InsulaError as error:
            self.outages.failed_open += 1
            self.refuse(call, error)
            return
        self.outages.failed_open += 1
        call.name = call.rid.encode() + b"~alone"
        call.registered = False
        call.admit(grant.hard, State.LOCAL)


def _untold(told: int) -> EnforcementUnavailable:
    return EnforcementUnavailable(
        f"only {told} of the gateways that share limits have told what they used before",
        hint="operator: start the others, or set INSULA_GATEWAYS to how many there are",
        retry_after_s=RETRY_AFTER_S,
    )
