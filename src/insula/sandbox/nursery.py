"""Makes cells: a control group and a process sitting in it. Keeps some ready."""

from __future__ import annotations

import os
from collections.abc import Callable

from insula.sandbox import birth, syscalls, wire
from insula.sandbox.backends import RECIPES
from insula.sandbox.cell import Cell
from insula.sandbox.cgroups import Groups
from insula.sandbox.recipe import Shared


class Nursery:
    """``adopt`` is told of every cell the moment it exists."""

    def __init__(self, groups: Groups, shared: Shared, adopt: Callable[[Cell], None]) -> None:
        self._groups = groups
        self._shared = shared
        self._adopt = adopt
        self._seats: dict[str, list[Cell]] = {name: [] for name in RECIPES}
        self._wanted = dict.fromkeys(RECIPES, 0)
        self._made = 0

    def keep_ready(self, name: str, count: int) -> None:
        """Hold ``count`` seats for the recipe from now on."""
        self._wanted[name] = count

    def take(self, name: str) -> Cell:
        """Return a seat, a waiting one if there is. Raises ``OSError``."""
        seats = self._seats[name]
        while seats:
            seat = seats.pop(0)
            if seat.alive():
                return seat
        return self._make(name)

    def refill(self) -> bool:
        """Make one seat that is wanted and not there. Return whether that was so."""
        for name, count in self._wanted.items():
            if len(self._seats[name]) < count:
                self._seats[name].append(self._make(name))
                return True
        return False

    def forget(self, cell: Cell) -> None:
        """A seat's process died before it was taken."""
        for seats in self._seats.values():
            if cell in seats:
                seats.remove(cell)

    def _make(self, name: str) -> Cell:
        self._made += 1
        recipe = RECIPES[name]
        group = self._groups.make(str(self._made))
        ours, theirs = wire.pair()
        pid = syscalls.clone(recipe.clone_flags)
        if pid == 0:
            try:
                birth.be_born(theirs, group.join, recipe, self._shared)
            finally:
                os._exit(127)
        theirs.close()
        cell = Cell(recipe, group, pid, ours)
        self._adopt(cell)
        return cell
