"""What goes wrong in a simulated day, drawn from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from insula.simulation.work import SECOND_US


@dataclass(frozen=True, slots=True)
class Faults:
    """How often things go wrong; all zero means never.

    A gateway out of ``gateways`` dies every ``crash_us`` with the calls it carries. The clock jumps every
    ``jump_us`` by up to ``jump_by_us``, forward or back. Of 1,000 settlements so many are sent twice, come
    late (``late_by_us`` after the end), come before the progress they follow, or never come.
    """

    gateways: int = 4
    crash_us: int = 0
    jump_us: int = 0
    jump_by_us: int = 0
    twice: int = 0
    late: int = 0
    late_by_us: int = 0
    reordered: int = 0
    lost: int = 0

    def settlement(self, rng: random.Random) -> str:
        """Return what becomes of a settlement: ``ok``, ``twice``, ``late``, ``reordered`` or ``lost``."""
        if not (self.twice or self.late or self.reordered or self.lost):
            return "ok"
        drawn = rng.randrange(1000)
        for name in ("twice", "late", "reordered", "lost"):
            drawn -= getattr(self, name)
            if drawn < 0:
                return name
        return "ok"


NONE = Faults()
ALL = Faults(
    crash_us=600 * SECOND_US,
    jump_us=900 * SECOND_US,
    jump_by_us=30 * SECOND_US,
    twice=20,
    late=10,
    late_by_us=900 * SECOND_US,
    reordered=20,
    lost=5,
)
