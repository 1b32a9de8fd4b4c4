"""Control groups, version 2: one tree.

A group that has processes of its own cannot hand controllers to its children, except the root of the tree.
So the sandboxes' groups live below the tree's root where the mount shows it, and otherwise (in a container,
or a service with ``Delegate=yes``) below our own group, whose processes move aside into a leaf first.
"""

from __future__ import annotations

import os
from pathlib import Path

from insula.sandbox.cgroups import files
from insula.sandbox.cgroups.group import Used
from insula.sandbox.cgroups.layout import Layout
from insula.sandbox.limits import Limits

CONTROLLERS = ("memory", "pids", "cpu")
_PERIOD_US = 100_000
_LEAF = "insula-platform"


class V2Groups:
    """Holds ``<base>/<name>/`` with the controllers handed down."""

    def __init__(self, layout: Layout, name: str) -> None:
        assert layout.v2 is not None
        assert layout.v2_mount is not None
        base = base_of(layout.v2, layout.v2_mount)
        if base != layout.v2_mount or not is_root(base):
            step_aside(base)
        hand_down(base)
        self._base = base / name
        files.make(self._base)
        hand_down(self._base)

    def make(self, name: str) -> V2Group:
        return V2Group(f"{self._base}/{name}")

    def places(self) -> list[Path]:
        return [self._base]

    def close(self) -> None:
        files.remove(str(self._base))


class V2Group:
    """One sandbox's group."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        Path(folder).mkdir(mode=0o755)

    def limit(self, limits: Limits, spare_pids: int) -> None:
        files.write(f"{self._folder}/memory.max", str(limits.resident))
        files.write_if_present(f"{self._folder}/memory.swap.max", "0")
        files.write(f"{self._folder}/pids.max", str(limits.pids + spare_pids))
        files.write(f"{self._folder}/cpu.max", f"{max(1000, int(limits.cpus * _PERIOD_US))} {_PERIOD_US}")

    def join(self) -> None:
        files.write(f"{self._folder}/cgroup.procs", "0")

    def pids(self) -> list[int]:
        return files.pids(self._folder)

    def kill(self) -> None:
        files.write_if_present(f"{self._folder}/cgroup.kill", "1")
        files.kill_each(self._folder)

    def used(self) -> Used:
        return Used(
            cpu_s=files.number(f"{self._folder}/cpu.stat", "usage_usec") / 1e6,
            memory_peak=files.number(f"{self._folder}/memory.peak"),
            oom_kills=files.number(f"{self._folder}/memory.events", "oom_kill"),
        )

    def remove(self) -> bool:
        return files.remove(self._folder)


def base_of(own: Path, mount: Path) -> Path:
    """Return where the groups go: the root of the tree if this mount shows it, else our own group.

    A spawner that follows another was born in the leaf that the platform stepped aside to.
    """
    if is_root(mount):
        return mount
    return own.parent if own.name == _LEAF else own


def is_root(folder: Path) -> bool:
    """Only the root of the tree has no type."""
    return not (folder / "cgroup.type").exists()


def step_aside(base: Path) -> None:
    """Move the processes of ``base`` into a leaf below it: ours, in a service or container of its own."""
    files.make(base / _LEAF)
    for pid in files.pids(str(base)):
        files.write(f"{base}/{_LEAF}/cgroup.procs", str(pid))


def hand_down(folder: Path) -> None:
    """Give the controllers to the children of ``folder``. Raises ``OSError`` when it may not."""
    files.write(f"{folder}/cgroup.subtree_control", " ".join(f"+{name}" for name in CONTROLLERS))


def offered(folder: Path) -> frozenset[str]:
    """Return the controllers that ``folder`` could hand down."""
    return frozenset(files.read(os.fspath(folder / "cgroup.controllers")).split())
