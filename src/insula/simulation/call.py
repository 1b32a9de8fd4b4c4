"""One attempt at one model call, on its way through the simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from insula.simulation.work import Run, Step


@dataclass(slots=True)
class Call:
    """``id`` is new for each attempt. ``done`` is told how it ended: ``ok``, ``crashed`` or ``refused``.

    ``output`` is what the model would say, or less if a budget cuts it short; ``estimate`` is what was
    expected. ``charged`` is what the queue has charged so far. ``over``: it holds no slot any more.
    """

    id: str
    run: Run
    step: Step
    output: int
    asked_us: int
    done: Callable[[Call, str], None]
    estimate: int = 0
    cost: int = 0
    charged: int = 0
    started_us: int = 0
    gateway: int = 0
    tries: int = 0
    over: bool = False
    settled: bool = False

    @property
    def tokens(self) -> int:
        """What the call uses in all."""
        return self.step.prompt + self.output
