"""Running platforms of this host, and the sweep of what a dead one left.

Each spawner holds a lock on a file that names its control groups. A file that can be locked by another
belongs to the dead: its groups are emptied and removed. Nothing else can be left over: workspaces, mounts
and namespaces go with their processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from insula.sandbox import cgroups
from insula.sandbox.cgroups import files
from insula.sandbox.places import INSTANCES

_PREFIX = "insula-"
_PATIENCE_S = 5.0


class Instance:
    """This spawner's entry. Making it sweeps the dead first."""

    def __init__(self) -> None:
        sweep()
        self.name = f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
        self.groups = cgroups.open_groups(cgroups.read_layout(), self.name)
        self._path = INSTANCES / self.name
        draft = INSTANCES / f".{self.name}"
        self._lock = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(self._lock, json.dumps([str(place) for place in self.groups.places()]).encode())
        draft.rename(self._path)  # under its own name only once it is locked

    def close(self) -> None:
        """Remove the groups' directories and the entry."""
        self.groups.close()
        self._path.unlink(missing_ok=True)
        os.close(self._lock)


def sweep() -> list[str]:
    """Clear up after platforms that died. Return their names."""
    swept = []
    for path in sorted(INSTANCES.glob(f"{_PREFIX}*")):
        lock = _lock_of_dead(path)
        if lock is None:
            continue
        try:
            _clear(json.loads(path.read_text() or "[]"))
            path.unlink(missing_ok=True)
            swept.append(path.name)
        finally:
            os.close(lock)
    return swept


def _lock_of_dead(path: Path) -> int | None:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _clear(places: list[str]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    for place in places:
        for group in _groups_in(Path(place)):
            while not _end(group) and time.monotonic() < deadline:
                time.sleep(0.002)
        files.remove(place)


def _groups_in(place: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return [str(entry) for entry in place.iterdir() if entry.is_dir()]
    return []


def _end(group: str) -> bool:
    """Forbid new processes, kill, and remove once empty."""
    with contextlib.suppress(OSError):
        files.write_if_present(f"{group}/pids.max", "0")
    files.kill_each(group)
    return files.remove(group)
