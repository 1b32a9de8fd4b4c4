"""Control groups of either version behind one contract."""

from __future__ import annotations

from pathlib import Path

from insula.sandbox.cgroups import layout as _layout
from insula.sandbox.cgroups import v1, v2
from insula.sandbox.cgroups.group import Group, Groups, Used
from insula.sandbox.cgroups.layout import Layout

__all__ = ["Group", "Groups", "Layout", "Used", "missing", "open_groups", "read_layout"]


def read_layout() -> Layout:
    """Return where this process stands."""
    mounts = Path("/proc/self/mountinfo").read_text()
    return _layout.read(Path("/proc/self/cgroup").read_text(), mounts)


def missing(layout: Layout) -> tuple[str, ...]:
    """Return the controllers that neither version offers: nothing when the host will do."""
    if _whole_v2(layout):
        return ()
    return tuple(name for name in v1.CONTROLLERS if name not in layout.v1)


def open_groups(layout: Layout, name: str) -> Groups:
    """Make the directories that will hold this platform's groups. Raises ``OSError``."""
    return v2.V2Groups(layout, name) if _whole_v2(layout) else v1.V1Groups(layout, name)


def _whole_v2(layout: Layout) -> bool:
    if layout.v2 is None or layout.v2_mount is None:
        return False
    return set(v2.CONTROLLERS) <= v2.offered(v2.base_of(layout.v2, layout.v2_mount))
