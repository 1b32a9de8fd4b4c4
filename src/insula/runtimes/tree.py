"""A folder as a value: its digest, its sealing against change, its removal."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path


def digest(root: Path) -> str:
    """Return the SHA-256 over every entry below ``root``: path, kind, permissions and content.

    Entries are taken in the order of their paths, so the same content gives the same digest wherever
    it lies. Times and owners do not count.
    """
    whole = hashlib.sha256()
    for path in _walk(root):
        mode = path.lstat().st_mode
        kind, content = _content(path, mode)
        name = path.relative_to(root).as_posix()
        whole.update(f"{kind} {stat.S_IMODE(mode):o} {content} {name}\n".encode())
    return whole.hexdigest()


def seal(root: Path) -> None:
    """Take every write permission away below and at ``root``; everything becomes readable to all."""
    for path in _walk(root):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) or mode & stat.S_IXUSR:
            _chmod(path, mode, 0o555)
        else:
            _chmod(path, mode, 0o444)
    root.chmod(0o555)


def clone(source: Path, target: Path) -> None:
    """Copy ``source`` to ``target``, sharing the files' blocks by hard links where the disk allows.

    Safe because sealed files never change: folders are made anew, writable until sealed.
    """
    target.mkdir(mode=0o755)
    for path in _walk(source):
        into = target / path.relative_to(source)
        if path.is_symlink():
            into.symlink_to(path.readlink())
        elif path.is_dir():
            into.mkdir(mode=0o755)
        else:
            _link_or_copy(path, into)


def remove(root: Path) -> None:
    """Delete ``root``, sealed or not. Nothing there is fine."""
    if not root.exists():
        return
    if os.geteuid() != 0:
        for path in (root, *_walk(root)):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(root)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(files + folders))


def _content(path: Path, mode: int) -> tuple[str, str]:
    if stat.S_ISLNK(mode):
        return "link", str(path.readlink())
    if stat.S_ISDIR(mode):
        return "folder", ""
    with path.open("rb") as file:
        return "file", hashlib.file_digest(file, "sha256").hexdigest()


def _chmod(path: Path, mode: int, wanted: int) -> None:
    if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) != wanted:
        path.chmod(wanted)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
