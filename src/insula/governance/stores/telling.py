"""Tells the store what became of calls, and of calls themselves where it may not know them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from insula.governance.quota.need import Amounts, Need
from insula.governance.stores.call import Call, Note, State, What
from insula.governance.stores.contract import Ended
from insula.governance.stores.exchange import Code, Exchange
from insula.governance.stores.known import Known
from insula.governance.stores.link import Contact
from insula.governance.stores.outgoing import Outgoing
from insula.governance.stores.wire import GONE

_AT_ONCE: Final = 64
_PAUSE_S: Final = 1.0


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
        self.outgoing.tell(call, what, up=self._exchange.up)

    def adjust(self, key: str) -> None:
        """Tell of a level's new limits, and hear how it stands."""

        def take(reply: object) -> None:
            found = self._exchange.read(reply)
            if found is not None and found[0] == Code.DONE:
                self._known.learn_one(key, found[2] if len(found) > 2 else None)

        if self._exchange.up:
            self._exchange.adjust(key, take)

    async def recall(self, ended: Sequence[Ended]) -> None:
        """Tell of calls that ended in an earlier life of this gateway, which may have died before it told.

        Where the store still holds such a call, it ends; all others it knows to have ended. Returns when all
        are told.
        """
        at = 0
        while at < len(ended):
            if await self._recall_some(ended[at : at + _AT_ONCE]):
                at += _AT_ONCE
            else:
                await asyncio.sleep(_PAUSE_S)

    async def _recall_some(self, ended: Sequence[Ended]) -> bool:
        answers: list[asyncio.Future[bool]] = []
        for one in ended:
            if not self._exchange.up:
                return False
            call = Call(one.scope, one.rid, self._known.route(one.scope), Need(Amounts()), 0, 0)
            answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            answers.append(answer)
            self._exchange.settle(Note(call, "settle", one.used), partial(self._recalled, answer))
        return all(await asyncio.gather(*answers))

    def _recalled(self, answer: asyncio.Future[bool], reply: object) -> None:
        found = self._exchange.read(reply)
        if not answer.done():
            answer.set_result(found is not None and found[0] != Code.OTHER_STORE)

    def resume(self, contact: Contact, running: Iterable[Call]) -> None:
        """The store is back: tell it again of all it may not know."""
        running = list(running)
        if contact.met:
            self.outgoing.book()
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
