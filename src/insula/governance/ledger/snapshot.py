"""A ledger's state in plain types, and back: what is restored answers exactly as the original would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any

from insula.governance.ledger import answer as answers
from insula.governance.ledger.answer import (
    Answer,
    Claimed,
    Closed,
    Donated,
    Drawn,
    Exhausted,
    Full,
    Held,
    Opened,
    Settled,
    Stale,
)
from insula.governance.ledger.book import Book, Moved
from insula.governance.ledger.memory import Answers, EndedCall, Memory, Past
from insula.governance.ledger.reservation import Hold, Reservation, State

VERSION = 1


def _values(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that reads all fields of a ``kind``: many times as quick as a deep copy."""
    names = [field.name for field in fields(kind)]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda one: tuple(getattr(one, name) for name in names)


_KINDS = (Claimed, Closed, Donated, Drawn, Exhausted, Full, Held, Opened, Settled, Stale)
_VALUES = {kind: _values(kind) for kind in (*_KINDS, Reservation, Hold, Moved)}


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
        "open": [_pack(one) for one in book.open.values()],
        "holds": [_pack(hold) for hold in book.holds.values()],
        "queue": list(book.queue),
        "totals": _pack(book.totals),
        "answers": [[key, *_pack_answers(one)] for key, one in memory.answers.items()],
        "past": [
            [key, past.ended_us, past.closed and _pack(past.closed), *_pack_answers(past.answers)]
            for key, past in memory.past.items()
        ],
        "calls": [
            [call, ended.ended_us, ended.granted, ended.charged, ended.answer and _pack(ended.answer)]
            for call, ended in memory.calls.items()
        ],
    }


def unpack(state: dict[str, Any]) -> tuple[Book, Memory]:
    """Return what :func:`pack` was given. Raises ``ValueError`` for a version that is not known."""
    if state["version"] != VERSION:
        raise ValueError(f"a ledger of version {state['version']}; this program knows {VERSION}")
    book = Book(state["period"], state["limit"], state["overdraft"], state["idle_us"])
    book.settled, book.free, book.now_us = state["settled"], state["free"], state["now_us"]
    for values in state["open"]:
        one = Reservation(*values)
        one.state = State(one.state)
        book.open[one.rid] = one
    book.holds = {values[0]: Hold(*values) for values in state["holds"]}
    book.queue = dict.fromkeys(state["queue"])
    book.totals = Moved(*state["totals"])
    memory = Memory()
    memory.answers = {key: _unpack_answers(*packed) for key, *packed in state["answers"]}
    memory.past = {
        key: Past(ended_us, closed and Closed(*closed), _unpack_answers(*packed))
        for key, ended_us, closed, *packed in state["past"]
    }
    memory.calls = {
        call: EndedCall(ended_us, granted, charged, answer and Settled(*answer))
        for call, ended_us, granted, charged, answer in state["calls"]
    }
    return book, memory


def _pack(one: Any) -> list[Any]:
    return list(_VALUES[type(one)](one))


def _pack_answers(known: Answers) -> list[Any]:
    given = [[seq, type(one).__name__, *_VALUES[type(one)](one)] for seq, one in known.given.items()]
    return [known.horizon, given]


def _unpack_answers(horizon: int, given: list[Any]) -> Answers:
    return Answers(horizon, {seq: _unpack_answer(name, values) for seq, name, *values in given})


def _unpack_answer(name: str, values: list[Any]) -> Answer:
    made: Answer = getattr(answers, name)(*values)
    return made
