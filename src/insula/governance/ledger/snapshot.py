"""A ledger's state in plain types, and back: what is restored answers exactly as the original would."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

from insula.governance.ledger import answer as answers
from insula.governance.ledger.answer import Answer, Closed, Settled
from insula.governance.ledger.book import Book, Moved
from insula.governance.ledger.memory import Answers, EndedCall, Memory
from insula.governance.ledger.reservation import Hold, Reservation, State

VERSION = 1


def pack(book: Book, memory: Memory) -> dict[str, Any]:
    """Return a JSON object. The order of its lists is part of the state."""
    return {
        "version": VERSION,
        "period": book.period,
        "limit": book.limit,
        "overdraft": book.overdraft,
        "idle_us": book.idle_us,
        "settled": book.settled,
        "free": book.free,
        "now_us": book.now_us,
        "open": [list(astuple(one)) for one in book.open.values()],
        "holds": [list(astuple(hold)) for hold in book.holds.values()],
        "queue": list(book.queue),
        "totals": list(astuple(book.totals)),
        "answers": _pack_answers(memory.answers),
        "past": _pack_answers(memory.past),
        "closed": [[rid, closed.used, closed.returned] for rid, closed in memory.closed.items()],
        "calls": [_pack_call(call, ended) for call, ended in memory.calls.items()],
    }


def unpack(state: dict[str, Any]) -> tuple[Book, Memory]:
    """Return what :func:`pack` was given. Raises ``ValueError`` for a version that is not known."""
    if state["version"] != VERSION:
        raise ValueError(f"a ledger of version {state['version']}; this program knows {VERSION}")
    book = Book(state["period"], state["limit"], state["overdraft"], state["idle_us"])
    book.settled, book.free, book.now_us = state["settled"], state["free"], state["now_us"]
    for fields in state["open"]:
        one = Reservation(*fields)
        one.state = State(one.state)
        book.open[one.rid] = one
    book.holds = {fields[0]: Hold(*fields) for fields in state["holds"]}
    book.queue = dict.fromkeys(state["queue"])
    book.totals = Moved(*state["totals"])
    memory = Memory()
    memory.answers, memory.past = _unpack_answers(state["answers"]), _unpack_answers(state["past"])
    memory.closed = {rid: Closed(used, returned) for rid, used, returned in state["closed"]}
    memory.calls = {call: _unpack_call(*ended) for call, *ended in state["calls"]}
    return book, memory


def _pack_answers(known: dict[str, Answers]) -> list[Any]:
    return [
        [key, one.horizon, [[seq, _pack_answer(given)] for seq, given in one.given.items()]]
        for key, one in known.items()
    ]


def _unpack_answers(packed: list[Any]) -> dict[str, Answers]:
    return {
        key: Answers(horizon, {seq: _unpack_answer(given) for seq, given in pairs})
        for key, horizon, pairs in packed
    }


def _pack_answer(given: Answer) -> list[Any]:
    return [type(given).__name__, *astuple(given)]


def _unpack_answer(packed: list[Any]) -> Answer:
    name, *fields = packed
    made: Answer = getattr(answers, name)(*fields)
    return made


def _pack_call(call: str, ended: EndedCall) -> list[Any]:
    answer = None if ended.answer is None else list(astuple(ended.answer))
    return [call, ended.granted, ended.charged, answer]


def _unpack_call(granted: int, charged: int, answer: list[Any] | None) -> EndedCall:
    return EndedCall(granted, charged, None if answer is None else Settled(*answer))
