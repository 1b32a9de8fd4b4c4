"""Reads what an agent left, from outside, while nothing inside runs any more.

Every open goes through ``openat2`` beneath the workspace: no link is followed, no mount crossed. Only
regular files with one name are read; the rest is passed over with a reason. Entries, bytes, depth and time
are bounded.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field

from insula.sandbox import syscalls

RESULT = b"result.json"
ARTIFACTS = b"artifacts"
_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class HarvestLimits:
    """``seconds`` bounds the whole harvest; ``depth`` counts folders below ``artifacts``."""

    result_bytes: int = 1 << 20
    total_bytes: int = 64 << 20
    entries: int = 1_000
    depth: int = 8
    seconds: float = 5.0
    skipped: int = 100


@dataclass(frozen=True, slots=True)
class Artifact:
    """``name`` is the path below ``artifacts``."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Harvest:
    """``skipped`` lists what was left behind, with the reason."""

    result: bytes | None = field(repr=False)
    artifacts: tuple[Artifact, ...]
    skipped: tuple[tuple[str, str], ...]


def harvest(work: int, limits: HarvestLimits | None = None) -> Harvest:
    """Return what lies in the workspace behind the folder fd ``work``. Never raises for what it finds."""
    return _Reaper(work, limits or HarvestLimits()).gather()


class _Reaper:
    def __init__(self, work: int, limits: HarvestLimits) -> None:
        self._work = work
        self._limits = limits
        self._left = limits.total_bytes
        self._seen = 0
        self._until = time.monotonic() + limits.seconds
        self._artifacts: list[Artifact] = []
        self._skipped: list[tuple[str, str]] = []

    def gather(self) -> Harvest:
        result = self._read(RESULT, self._limits.result_bytes)
        self._walk(ARTIFACTS, 0)
        return Harvest(result, tuple(self._artifacts), tuple(self._skipped))

    def _walk(self, folder: bytes, depth: int) -> None:
        if depth > self._limits.depth:
            self._skip(folder, f"deeper than {self._limits.depth} folders")
            return
        try:
            fd = syscalls.open_beneath(self._work, folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as problem:
            if depth or problem.errno != 2:
                self._skip(folder, problem.strerror or "cannot be opened")
            return
        try:
            self._entries(fd, folder, depth)
        finally:
            os.close(fd)

    def _entries(self, fd: int, folder: bytes, depth: int) -> None:
        with os.scandir(fd) as entries:
            for entry in entries:
                self._seen += 1
                path = folder + b"/" + os.fsencode(entry.name)
                if self._seen > self._limits.entries or time.monotonic() > self._until:
                    self._skip(path, "too many entries or too slow: the rest is left behind")
                    return
                if entry.is_dir(follow_symlinks=False):
                    self._walk(path, depth + 1)
                else:
                    self._keep(path)

    def _keep(self, path: bytes) -> None:
        data = self._read(path, self._left)
        if data is not None:
            self._left -= len(data)
            self._artifacts.append(Artifact(_shown(path.removeprefix(ARTIFACTS + b"/")), data))

    def _read(self, path: bytes, most: int) -> bytes | None:
        """Return the file's content, or ``None`` with the reason noted. Looks before it opens."""
        try:
            look = syscalls.open_beneath(self._work, path, _PATH_ONLY)
        except OSError as problem:
            if path != RESULT or problem.errno != 2:
                self._skip(path, problem.strerror or "cannot be opened")
            return None
        try:
            why = _unfit(os.fstat(look), most)
        finally:
            os.close(look)
        if why:
            self._skip(path, why)
            return None
        return self._content(path, most)

    def _content(self, path: bytes, most: int) -> bytes | None:
        try:
            fd = syscalls.open_beneath(self._work, path, _READ)
        except OSError as problem:
            self._skip(path, problem.strerror or "cannot be opened")
            return None
        with os.fdopen(fd, "rb", buffering=0) as file:
            if why := _unfit(os.fstat(fd), most):
                self._skip(path, why)
                return None
            data = bytearray()
            while len(data) <= most and (piece := file.read(min(1 << 20, most + 1 - len(data)))):
                data += piece
        if len(data) > most:
            self._skip(path, f"larger than the {most} bytes that are left")
            return None
        return bytes(data)

    def _skip(self, path: bytes, why: str) -> None:
        if len(self._skipped) < self._limits.skipped:
            self._skipped.append((_shown(path), why))


def _unfit(found: os.stat_result, most: int) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "not a regular file"
    if found.st_nlink > 1:
        return "has more than one name"
    if found.st_size > most:
        return f"larger than the {most} bytes that are left"
    return ""


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")[:400]
