"""Tells the store what became of calls, and of calls themselves where it may not know them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from insula.governance.stores.call import Call, Note, State, What
from insula.governance.stores.exchange import Code, Exchange
from insula.governance.stores.known import Known
from insula.governance.stores.link import Contact
from insula.governance.stores.outgoing import Outgoing
from insula.governance.stores.wire import GONE


class Telling:
    """What is told leaves at once if the store can be reached, else when it is back."""

    def __init__(self, exchange: Exchange, known: Known, clock_us: Callable[[], int]) -> None:
        self.outgoing = Outgoing(clock_us, self._transmit)
        self._exchange = exchange
        self._known = known

    def tell(self, call: Call, what: What) -> None:
        """Tell how far a call is, by ``call.used``, or that it ended."""
        if what != "cancel":
            call.sent = True
        self.outgoing.tell(call, what, self._exchange.moment_us(), up=self._exchange.up)

    def resume(self, contact: Contact, running: Iterable[Call]) -> None:
        """The store is back: tell it again of all it may not know."""
        running = list(running)
        for call in running:
            if call.state is State.LOCAL or contact.changed:
                call.state, call.registered = State.HELD, False
        for note in self.outgoing.again(changed=contact.changed, lost=contact.lost):
            self.outgoing.transmit(note)
        for call in running:
            if not call.registered and call.name not in self.outgoing:
                self.tell(call, "progress") if call.sent else self._register(call)

    def _transmit(self, note: Note) -> None:
        if not self._exchange.up:
            return
        if not note.call.registered and note.name == note.call.name:
            self._register(note.call)
        self._exchange.settle(note, lambda reply: self._told(note, reply))

    def _told(self, note: Note, reply: object) -> None:
        found = self._exchange.read(reply)
        if found is None:
            if reply is not GONE and self._exchange.up:
                self.outgoing.again_or_never(note, str(reply))
        elif found[0] != Code.OTHER_STORE:
            self._known.learn(note.call.route, found[2:])
            self.outgoing.acknowledge(note, up=self._exchange.up)

    def _register(self, call: Call) -> None:
        def take(reply: object) -> None:
            found = self._exchange.read(reply)
            if found is not None and found[0] == Code.DONE:
                call.registered = True
                self._known.learn(call.route, found[2:])

        self._exchange.register(call, take)
