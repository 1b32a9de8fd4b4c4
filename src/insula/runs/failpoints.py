"""Named places in a run's life where a test may end the platform, to see what the next one makes of it."""

from __future__ import annotations

from collections.abc import Callable

POINTS = (
    "index_written",
    "record_written",
    "workflow_started",
    "admitted",
    "door_open",
    "sandbox_launched",
    "output_flowing",
    "exited",
    "harvested",
    "before_final_write",
    "after_final_write",
)

Reach = Callable[[str], None]
"""Called with a point's name whenever a run passes it."""


def pass_by(_point: str) -> None:
    """Do nothing: the failpoint of production."""
