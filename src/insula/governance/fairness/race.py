"""Start-time fair order: who has received least goes first.

Each contender has a counter, the service it was charged. The one with the lowest counter is served
next; that is the one with the highest debt. Who comes back after having nothing to do is *lifted* to
the lowest counter of those who contend, or to the virtual time when nobody does, so idling earns no
credit. The virtual time is the highest counter at which anybody was served in turn (Goyal, Vin and Cheng,
"Start-time Fair Queueing", 1996; with correction after service as in Sheng et al., "Fairness in Serving
Large Language Models", 2024).

The same race is run twice: between tenants, and between the flows of one lane of a tenant.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Generic, TypeVar

_SLACK = 64
_REMEMBERED = 10_000
_KEPT = 8

Entry = tuple[int, int, str, Any]
ALONE: Entry = (0, 0, "", None)
"""The entry of one who contends alone."""


class Contender:
    """One who is served in turn. Ordered by counter, then by how long its head waits, then by name.

    ``start`` is the counter at which it was served last. ``entry`` is its valid place in the heap while it
    contends, ``resting`` its place among those who have nothing to do but are still remembered.
    """

    __slots__ = ("counter", "entry", "name", "resting", "since_us", "start")

    def __init__(self, name: str) -> None:
        self.name = name
        self.counter = 0
        self.start = 0
        self.since_us = 0
        self.entry: Entry | None = None
        self.resting: Entry | None = None

    def __lt__(self, other: Contender) -> bool:
        """Compared only when two entries bear one name: one is out of date, and either order will do."""
        return False


C = TypeVar("C", bound=Contender)


class Race(Generic[C]):
    """Contenders in fair order. Every operation takes O(log n), amortised.

    One who contends alone needs no heap.

    A contender's heap entry may lag behind a counter that rose; it is put right when it reaches the top.
    Only a counter that falls needs a new entry at once.

    A member that has nothing to do is forgotten when its return would lift it anyway. A handful is kept when
    all rest, so that one who comes and goes alone is not made anew each time.
    """

    __slots__ = ("_awake", "_heap", "_highest", "_lone", "_members", "_resting", "_time", "contending")

    def __init__(self) -> None:
        self._members: dict[str, C] = {}
        self._heap: list[Entry] = []
        self._lone: C | None = None
        self._resting: list[Entry] = []
        self._awake = 0
        self._highest = 0
        self._time = 0
        self.contending = 0

    def make(self, name: str) -> C:
        """Make a member that is not remembered."""
        raise NotImplementedError

    def gone(self, member: C) -> None:
        """Hear who was forgotten."""

    def __iter__(self) -> Iterator[C]:
        """Everybody that is remembered, in no order."""
        return iter(self._members.values())

    def find(self, name: str) -> C | None:
        """Return who is remembered by that name."""
        return self._members.get(name)

    def awake(self, name: str) -> C:
        """Return the member of that name, who from now on has something to do; a new one if need be."""
        member = self._members.get(name)
        if member is None:
            member = self._members[name] = self.make(name)
            self._awake += 1
        elif member.resting is not None:
            member.resting = None
            self._awake += 1
        return member

    def join(self, member: C) -> None:
        """Let ``member`` contend, lifted. ``since_us`` is set already."""
        self.lift(member)
        self.contending += 1
        if self.contending == 1:
            self._heap.clear()
            self._lone = member
            member.entry = ALONE
            return
        if self._lone is not None:
            self._push(self._lone)
            self._lone = None
        self._push(member)

    def lift(self, member: C) -> None:
        """Take away the credit of somebody who did not contend."""
        first = self.first()
        floor = self._time if first is None else first.counter
        if member.counter < floor:
            member.counter = floor

    def leave(self, member: C) -> None:
        """Let ``member`` contend no more."""
        if member.entry is not None:
            member.entry = None
            self.contending -= 1
            if not self.contending:
                self._lone = None
            if member.start > self._time:
                self._time = member.start

    def moved(self, member: C) -> None:
        """Note that the counter of a contender, or its head, changed."""
        entry = member.entry
        if entry is None or entry is ALONE:
            return
        if member.counter < entry[0] or (member.counter == entry[0] and member.since_us < entry[1]):
            self._push(member)

    def first(self) -> C | None:
        """Return who goes first."""
        if self._lone is not None:
            return self._lone
        heap = self._heap
        while heap:
            entry = heap[0]
            member: C = entry[3]
            if member.entry is not entry:
                heappop(heap)
            elif member.counter == entry[0] and member.since_us == entry[1]:
                return member
            else:
                fresh = member.entry = (member.counter, member.since_us, member.name, member)
                heapreplace(heap, fresh)
        return None

    def in_order(self) -> Generator[C, None, None]:
        """Everybody who contends, from the first on. Nothing may change meanwhile; close it when done."""
        if self._lone is not None:
            yield self._lone
            return
        seen: list[Entry] = []
        try:
            while (member := self.first()) is not None:
                seen.append(heappop(self._heap))
                yield member
        finally:
            for entry in seen:
                heappush(self._heap, entry)

    @property
    def time(self) -> int:
        """The virtual time: the highest counter at which anybody was served."""
        starts = [self._lone.start] if self._lone is not None else [entry[3].start for entry in self._heap]
        return max(self._time, *starts) if starts else self._time

    def floor(self) -> int:
        """Return the counter at which somebody enters who has no service on record."""
        first = self.first()
        return self._time if first is None else first.counter

    def rest(self, member: C) -> None:
        """Note that ``member`` has nothing to do. It is forgotten once its return would lift it anyway.

        When nobody has anything to do the race is over, and the next one starts level.
        """
        self._awake -= 1
        if member.counter > self._highest:
            self._highest = member.counter
        if not self._awake:
            member.resting = ALONE
            self._start_level()
            return
        floor = self.floor()
        if member.counter <= floor:
            self._drop(member)
        else:
            entry = member.resting = (member.counter, 0, member.name, member)
            heappush(self._resting, entry)
        self._forget_below(floor)

    def _forget_below(self, floor: int) -> None:
        resting = self._resting
        while resting and (resting[0][0] <= floor or len(resting) > _REMEMBERED):
            entry = heappop(resting)
            if entry[3].resting is entry:
                self._drop(entry[3])

    def multiply(self, factor: int) -> None:
        """Count in units that are smaller by ``factor``. The order stays as it is."""
        self._time *= factor
        self._highest *= factor
        for member in self._members.values():
            member.counter *= factor
            member.start *= factor
        for number, entry in enumerate(self._heap):
            counter, since_us, name, member = entry
            self._heap[number] = finer = (counter * factor, since_us, name, member)
            if member.entry is entry:
                member.entry = finer
        for number, entry in enumerate(self._resting):
            counter, since_us, name, member = entry
            self._resting[number] = finer = (counter * factor, since_us, name, member)
            if member.resting is entry:
                member.resting = finer

    def _start_level(self) -> None:
        self._time = max(self._time, self._highest)
        self._resting.clear()
        self._heap.clear()
        if len(self._members) > _KEPT:
            members, self._members = self._members, {}
            for member in members.values():
                self.gone(member)

    def _drop(self, member: C) -> None:
        del self._members[member.name]
        self.gone(member)

    def _push(self, member: C) -> None:
        heap = self._heap
        entry = member.entry = (member.counter, member.since_us, member.name, member)
        heappush(heap, entry)
        if len(heap) > 2 * self.contending + _SLACK:
            heap[:] = [kept for kept in heap if kept[3].entry is kept]
            heapify(heap)
