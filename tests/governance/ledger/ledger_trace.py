"""The laws of the ledger, checked around every step of a random trace.

A step is ``(name, arguments)``. Around each one the accounts are counted again from the reservations and
holds, and what was answered is compared with what an outsider can work out from the state before.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from insula.governance.ledger import (
    Closed,
    Drawn,
    Exhausted,
    Full,
    Held,
    Opened,
    Settled,
    Stale,
    State,
    TenantLedger,
)

SECOND = 1_000_000
LAWS = ("L1", "L2", "L3", "L4", "L5", "L6", "L8", "L9", "L10")
Step = tuple[str, dict[str, Any]]


@dataclass
class Seen:
    """What the state was before a step."""

    free: int
    settled: int
    overdraft: int
    overrun: int
    unused: dict[str, int]
    donated: dict[str, int]
    queue: list[str]
    room: dict[str, int]
    caller: str | None


class Court:
    """Drives one ledger, and books every breach of a law by its name."""

    def __init__(self, ledger: TenantLedger) -> None:
        self.ledger = ledger
        self.breaches: Counter[str] = Counter()
        self.told: list[str] = []
        self.steps: list[Step] = []
        self.debited = 0
        self.unchecked = 0
        self.allowed: Counter[str] = Counter()
        self.ends: dict[str, Closed] = {}
        self.ended_us: dict[str, int] = {}

    def check(self, law: str, holds: bool, told: str, *seen: object) -> None:
        if not holds:
            self.breaches[law] += 1
            self.told.append(f"{law} at step {len(self.steps)} {self.steps[-1]}: {told.format(*seen)}")

    def step(self, name: str, **given: Any) -> Any:
        self.steps.append((name, given))
        before = self._see(name, given)
        fresh = self._fresh(name, given)
        answer = getattr(self.ledger, name)(**given)
        self._expect(name, given, answer, fresh, before)
        self._count(name, given, before, answer)
        return answer

    def again(self, name: str, answer: Any, **given: Any) -> None:
        """L6: the same once more does nothing and is answered the same."""
        self.steps.append((name, given))
        before = json.dumps(self.ledger.snapshot())
        repeated = getattr(self.ledger, name)(**given)
        self.check("L6", repeated == answer, "{} became {}", answer, repeated)
        self.check("L6", json.dumps(self.ledger.snapshot()) == before, "a repetition changed the state")

    def _see(self, name: str, given: dict[str, Any]) -> Seen:
        book = self.ledger.book
        running = book.holds.get(given.get("call", ""))
        return Seen(
            book.free, book.settled, book.overdraft, book.totals.overrun,
            {rid: one.unused for rid, one in book.open.items()},
            {rid: one.donated for rid, one in book.open.items()},
            list(book.queue), self._room(name, given), running.rid if running else None,
        )  # fmt: skip

    def _room(self, name: str, given: dict[str, Any]) -> dict[str, int]:
        """Work out what a hold, draw or open can get at most, from the outside."""
        if name not in ("hold", "draw", "open"):
            return {}
        book, rid = self.ledger.book, given["rid"]
        now = max(book.now_us, given["now_us"])
        who = book.open.get(rid)
        lenders = {r for r, one in book.open.items() if r != rid and one.idle(now, book.idle_us)}
        free = book.free + sum(book.open[r].spare for r in lenders)
        line = [r for r in book.queue if r not in lenders]
        if who is not None and who.donated and rid not in line:
            line.append(rid)
        own = who.unused if who is not None else 0
        for waiting in line:
            paid = min(max(0, free), book.open[waiting].donated)
            free -= paid
            own += paid if waiting == rid else 0
        return {"call": own + max(0, free + book.overdraft), "open": max(0, free)}

    def _fresh(self, name: str, given: dict[str, Any]) -> bool:
        """Whether this step may move tokens: it is not a repetition."""
        if name in ("settle", "release"):
            ended = self.ledger.memory.calls.get(given["call"])
            return ended is None or ended.answer is None
        return True

    def _expect(self, name: str, given: dict[str, Any], answer: Any, fresh: bool, before: Seen) -> None:
        asked = {"hold": "least", "draw": "tokens", "open": "least"}.get(name)
        if isinstance(answer, Exhausted | Full) and name != "child":
            room = before.room["open" if name == "open" else "call"]
            self.check("L9", given[asked] > room, "refused {} although {} could be had", given[asked], room)
            over = given[asked] > self.ledger.book.limit - before.settled + (
                0 if name == "open" else before.overdraft
            )
            self.check("L9", isinstance(answer, Exhausted) == over, "{} tells the wrong reason", answer)
        if isinstance(answer, Drawn):
            self.debited += given["tokens"]
            self.unchecked += given["tokens"] if answer.late else 0
            self.check("L5", answer.late == (given["rid"] in self.ends), "late is not flagged")
        if isinstance(answer, Settled) and fresh:
            self.debited += answer.used
            self.unchecked += answer.used if answer.late else answer.overrun
        if isinstance(answer, Held):
            before_it = self.allowed[given["call"]] if name == "raise_hold" else 0
            self.allowed[given["call"]] = before_it + answer.granted
        if name == "roll" and answer:
            self.debited = self.unchecked = 0
        if name == "open" and isinstance(answer, Opened):
            self.ends.pop(given["rid"], None)
        if name == "child" and isinstance(answer, Opened):
            self.ends.pop(given["rid"], None)
        if name == "close" and isinstance(answer, Closed):
            if given["rid"] in self.ends:
                self.check("L5", answer == self.ends[given["rid"]], "closed twice, answered differently")
            if given["rid"] in before.unused:
                self.check("L5", given["rid"] not in self.ledger.book.open, "closed and still there")
                self.check("L5", answer.returned == before.unused[given["rid"]], "returned another amount")
                self._note_end(given["rid"], answer)
        if name == "tick":
            for rid in answer.expired:
                self._note_end(rid, self.ledger.memory.closed(rid) or Closed(0, 0))
            long_ago = self.ledger.book.now_us - 3_600 * SECOND
            self.ends = {rid: end for rid, end in self.ends.items() if self.ended_us[rid] > long_ago}
            for call in answer.lapsed:
                self.debited += self.ledger.memory.calls[call].charged

    def _note_end(self, rid: str, closed: Closed) -> None:
        self.ends[rid] = closed
        self.ended_us[rid] = self.ledger.book.now_us

    def _count(self, name: str, given: dict[str, Any], before: Seen, answer: Any) -> None:
        book = self.ledger.book
        unused = {rid: one.unused for rid, one in book.open.items()}
        held = sum(hold.own + hold.pool for hold in book.holds.values())
        everything = book.settled + sum(unused.values()) + held + book.free
        self.check("L1", book.limit == everything, "{} became {}", book.limit, everything)
        self.check("L5", book.settled == self.debited, "{} settled, {} used", book.settled, self.debited)
        self._count_reservations(before)
        floor = min(-book.overdraft, before.free) - (book.totals.overrun - before.overrun)
        self.check("L2", book.free >= floor or name == "set_limit", "free is {}", book.free)
        self._count_lending(name, given, before, unused)
        self.check("L4", book.free <= 0 or not book.queue, "{} free while claims wait", book.free)
        if not any(step == "set_limit" for step, _ in self.steps):
            most = book.limit + book.overdraft + self.unchecked
            self.check("L10", book.settled <= most, "{} used of {}", book.settled, most)

    def _count_reservations(self, before: Seen) -> None:
        book = self.ledger.book
        for rid, one in book.open.items():
            own = sum(hold.own for hold in book.holds.values() if hold.rid == rid)
            running = sum(1 for hold in book.holds.values() if hold.rid == rid)
            children = sum(child.granted for child in book.open.values() if child.parent == rid)
            sound = one.unused >= 0 and 0 <= one.used <= one.granted and one.donated >= 0
            self.check("L2", sound and own == one.held and running == one.calls, "{}", one)
            self.check("L8", children == one.carved <= one.granted, "{} carved out of {}", children, one)
            self.check("L2", one.parent is None or one.parent in book.open, "{} has lost its parent", one)
        for hold in book.holds.values():
            self.check("L2", hold.own >= 0 and hold.pool >= 0, "{}", hold)
            told = self.allowed[hold.call]
            self.check("L10", hold.size == told, "a call was told {} and holds {}", told, hold.size)

    def _count_lending(self, name: str, given: dict[str, Any], before: Seen, unused: dict[str, int]) -> None:
        """L3: lending never digs below the floor, and nobody takes from a neighbour."""
        book = self.ledger.book
        takes = {given.get("rid"), given.get("parent"), before.caller}
        for rid, one in book.open.items():
            if rid not in before.unused:
                continue
            gave = one.donated - before.donated[rid]
            if gave > 0:
                self.check("L3", unused[rid] >= one.floor, "{} gave and kept {}", rid, unused[rid])
            lost = before.unused[rid] - unused[rid]
            if rid not in takes:
                self.check("L3", lost <= max(0, gave), "{} lost {} to {}", rid, lost, name)
        if name in ("donate", "waiting", "heartbeat"):
            self.check("L3", book.settled == before.settled, "{} debited", name)


class Walk:
    """A seeded stream of steps, with repetitions, strangers, late comers and clocks that jump."""

    def __init__(self, seed: int, *, cuts: bool = False) -> None:
        self.rng = random.Random(seed)
        self.now = 0
        self.calls: list[str] = []
        self.rids = [f"r{number}" for number in range(12)]
        self.number = 0
        self.seq = 0
        self.cuts = cuts
        self.period = 0

    def limits(self) -> tuple[int, int]:
        return self.rng.choice([2_000, 10_000, 40_000]), self.rng.choice([0, 0, 500, 3_000])

    def next(self) -> Step:
        rng = self.rng
        self.now += rng.choice([0, 1, SECOND, 3 * SECOND, rng.randrange(25 * SECOND)])
        if rng.random() < 0.02:
            self.now = max(0, self.now + rng.randrange(-60 * SECOND, 4_000 * SECOND))
        self.seq += 1
        names = ["open", "child", "hold", "settle", "draw", "raise_hold", "release", "waiting", "heartbeat",
                 "donate", "close", "tick", "set_limit", "roll"]  # fmt: skip
        weights = [12, 5, 22, 20, 6, 6, 2, 6, 6, 2, 6, 8, 1 if self.cuts else 0, 0.3]
        name = rng.choices(names, weights)[0]
        return name, getattr(self, f"_{name}")()

    def _rid(self) -> str:
        return self.rng.choice(self.rids)

    def _amount(self) -> int:
        return self.rng.choice([1, self.rng.randrange(1, 300), self.rng.randrange(1, 3_000)])

    def _want(self) -> dict[str, int]:
        want = self._amount()
        return {"want": want, "least": self.rng.choice([1, want, self.rng.randrange(1, want + 1)])}

    def _open(self) -> dict[str, Any]:
        ttl = self.rng.choice([30, 300, 5_000]) * SECOND
        return {"rid": self._rid(), **self._want(), "now_us": self.now, "ttl_us": ttl, "seq": self.seq}

    def _child(self) -> dict[str, Any]:
        rid, parent = self.rng.sample(self.rids, 2)
        return {"rid": rid, "parent": parent, **self._want(), "now_us": self.now, "seq": self.seq}

    def _hold(self) -> dict[str, Any]:
        self.number += 1
        call = f"c{self.number}"
        self.calls.append(call)
        rid = self.rng.choice([None, *self.rids, *self.rids])
        ttl = self.rng.choice([20, 600]) * SECOND
        sure = self.rng.randrange(100)
        return {"call": call, "rid": rid, **self._want(), "now_us": self.now, "sure": sure, "ttl_us": ttl}

    def _call(self) -> str:
        recent = self.calls[-8:]
        return self.rng.choice(recent) if recent and self.rng.random() < 0.97 else "a stranger"

    def _settle(self) -> dict[str, Any]:
        return {"call": self._call(), "used": self.rng.choice([0, self._amount()]), "now_us": self.now}

    def _release(self) -> dict[str, Any]:
        return {"call": self._call(), "now_us": self.now}

    def _raise_hold(self) -> dict[str, Any]:
        return {"call": self._call(), "more": self._amount(), "now_us": self.now, "seq": self.seq}

    def _draw(self) -> dict[str, Any]:
        rid = self.rng.choice([None, *self.rids])
        return {"rid": rid, "tokens": self._amount(), "now_us": self.now, "seq": self.seq}

    def _waiting(self) -> dict[str, Any]:
        return {
            "rid": self._rid(),
            "state": self.rng.choice(list(State)),
            "now_us": self.now,
            "seq": self.seq,
        }

    def _heartbeat(self) -> dict[str, Any]:
        return {"rid": self._rid(), "now_us": self.now, "seq": self.seq}

    _donate = _close = _heartbeat

    def _tick(self) -> dict[str, Any]:
        return {"now_us": self.now}

    def _set_limit(self) -> dict[str, Any]:
        return {"limit": self.rng.randrange(40_000)}

    def _roll(self) -> dict[str, Any]:
        self.period += 1
        return {"period": f"{self.period:06d}"}


REPEATABLE = ("open", "child", "hold", "settle", "release", "draw", "raise_hold", "waiting", "heartbeat",
              "donate", "close")  # fmt: skip


def walk(seed: int, steps: int = 300, made: type[TenantLedger] = TenantLedger) -> Court:
    """Drive a ledger of class ``made`` through a random trace; return what the court found."""
    path = Walk(seed, cuts=seed % 4 == 0)
    limit, overdraft = path.limits()
    court = Court(made("000000", limit, overdraft))
    for _ in range(steps):
        name, given = path.next()
        answer = court.step(name, **given)
        done = name in REPEATABLE and not isinstance(answer, Exhausted | Full | Stale)
        if done and path.rng.random() < 0.25:
            court.again(name, answer, **given)
    return court


__all__ = ["LAWS", "Court", "Held", "Walk", "walk"]
