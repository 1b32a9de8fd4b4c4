"""Where this process stands in the control-group hierarchies of the host. Pure: texts in, paths out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Layout:
    """``v1`` maps a controller to the directory of our own group in its hierarchy.

    ``v2`` is our own group in the unified hierarchy, ``v2_mount`` where that hierarchy is mounted.
    """

    v1: dict[str, Path]
    v2: Path | None
    v2_mount: Path | None


def read(groups: str, mounts: str) -> Layout:
    """Join ``/proc/self/cgroup`` and ``/proc/self/mountinfo``."""
    own = dict(_own(groups))
    v1: dict[str, Path] = {}
    v2 = v2_mount = None
    for kind, root, point, options in _mounts(mounts):
        if kind == "cgroup2" and "" in own:
            v2, v2_mount = _place(point, root, own[""]), Path(point)
        for names, path in own.items():
            if kind == "cgroup" and names and set(names.split(",")) <= options:
                v1.update({name: _place(point, root, path) for name in names.split(",")})
    return Layout(v1, v2, v2_mount)


def _own(text: str) -> list[tuple[str, str]]:
    rows = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    return [(names, path) for _, names, path in rows]


def _mounts(text: str) -> list[tuple[str, str, str, set[str]]]:
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if len(left) >= 5 and len(right) >= 3 and right[0] in ("cgroup", "cgroup2"):
            found.append((right[0], left[3], left[4], set(right[2].split(","))))
    return found


def _place(point: str, root: str, path: str) -> Path:
    """``path`` is seen from the hierarchy's root; the mount shows it from ``root`` on."""
    inside = PurePosixPath(path)
    if inside.is_relative_to(root):
        inside = inside.relative_to(root)
    return Path(point) / str(inside).lstrip("/")
