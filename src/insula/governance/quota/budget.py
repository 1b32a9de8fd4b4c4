"""A budget: what may be used in one calendar window, never passed at all.

Unlike a rate it knows no burst and no debt: what is promised is the most a call can use, and a call that
could use more is cut to what the budget still bears. What was used is not kept here but read from the
level's meter, so there is no second figure that could drift from it.
"""

from __future__ import annotations

from typing import Literal

from insula.governance.quota.meter import Meter, Window

Kind = Literal["quota", "nanousd"]


class Budget:
    """A limit over a meter's window. ``pending`` is promised to calls that are running."""

    __slots__ = ("kind", "limit", "meter", "pending", "window")

    def __init__(self, limit: int, meter: Meter, kind: Kind, window: Window) -> None:
        self.limit = limit
        self.meter = meter
        self.kind = kind
        self.window = window
        self.pending = 0

    @property
    def used(self) -> int:
        """What calls that ended have used in the present window."""
        meter = self.meter
        before = meter.day if self.window == "day" else meter.month
        if self.kind == "quota":
            return before.quota + meter.quota
        return before.nanousd + meter.nanousd

    @property
    def left(self) -> int:
        """What is not used; running calls not counted."""
        return self.limit - self.used

    @property
    def free(self) -> int:
        """What a call may still be promised."""
        return self.limit - self.used - self.pending
