"""Packs an agent's directory: the same files give the same bytes, wherever and whenever."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from insula.bundles.bounds import STANDARD, BundleBounds
from insula.bundles.inspect import inspect
from insula.bundles.names import refusal
from insula.kernel.errors import InvalidRequest, TooLarge

LEFT_OUT = (
    ".git", ".hg", ".venv", ".env", "__pycache__", "*.pyc", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", ".DS_Store",
)  # fmt: skip
"""Names that never travel: history, environments, caches, and ``.env`` files, which tend to hold secrets."""


def pack(directory: Path, bounds: BundleBounds = STANDARD) -> bytes:
    """Return ``directory`` as a canonical tar.gz that :func:`inspect` accepts.

    Raises ``InvalidRequest`` or ``TooLarge`` naming the entry, its problem and the fix: links, devices and
    whatever else the platform would refuse is refused here already.
    """
    if not directory.is_dir():
        raise InvalidRequest(
            f"{str(directory)!r:.120} is not a directory",
            hint="name the directory of agent.toml",
            field="directory",
        )
    packed = io.BytesIO()
    total = 0
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, found in _files(directory, ""):
            total += found.st_size
            if total > bounds.bytes:
                raise TooLarge(
                    f"{str(directory)!r:.120} has more than {bounds.bytes} bytes",
                    hint="leave large files out; agents can write to /work",
                    field="bundle",
                )
            tar.addfile(_entry(path, found), io.BytesIO(_read(directory, path, found)))
    archive = gzip.compress(packed.getvalue(), compresslevel=6, mtime=0)
    inspect(archive, bounds)
    return archive


def _files(directory: Path, below: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(directory / below) as scanned:
        found = sorted(scanned, key=lambda entry: entry.name)
    for entry in found:
        if any(fnmatch(entry.name, pattern) for pattern in LEFT_OUT):
            continue
        path = f"{below}/{entry.name}".lstrip("/")
        state = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(state.st_mode):
            yield from _files(directory, path)
        elif stat.S_ISREG(state.st_mode):
            yield path, state
        else:
            what = "a symbolic link" if stat.S_ISLNK(state.st_mode) else "neither file nor folder"
            raise refusal(path, f"is {what}", "only regular files can be deployed: copy the content")


def _entry(path: str, state: os.stat_result) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.size = state.st_size
    entry.mode = 0o755 if state.st_mode & 0o111 else 0o644
    return entry


def _read(directory: Path, path: str, state: os.stat_result) -> bytes:
    """Read the file that was looked at, without following a link put in its place since."""
    descriptor = os.open(directory / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(state.st_size + 1)
    if len(data) != state.st_size:
        raise refusal(path, "changed while it was read", "deploy again when nothing writes to it")
    return data
