"""Reading and writing the small files of a control-group filesystem."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def write(path: str, text: str) -> None:
    """Write ``text`` to an existing control file. Raises ``OSError``."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def write_if_present(path: str, text: str) -> None:
    """Like ``write`` for a file that not every kernel has."""
    with contextlib.suppress(FileNotFoundError):
        write(path, text)


def read(path: str) -> str:
    """Return the content, or nothing when the file is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return os.read(fd, 1 << 16).decode()
    finally:
        os.close(fd)


def number(path: str, key: str = "") -> int:
    """Return the number in the file, or after ``key`` in a file of ``key value`` lines; 0 when absent."""
    text = read(path)
    if key:
        text = next((line[len(key) + 1 :] for line in text.splitlines() if line.startswith(f"{key} ")), "")
    return int(text) if text.strip().isdigit() else 0


def pids(folder: str) -> list[int]:
    """Return the processes of the group, none when it is gone."""
    return [int(word) for word in read(f"{folder}/cgroup.procs").split()]


def kill_each(folder: str) -> None:
    """SIGKILL every process of the group once."""
    for pid in pids(folder):
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def remove(folder: str) -> bool:
    """Remove the group's directory; false while it is busy."""
    try:
        Path(folder).rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def make(path: Path) -> None:
    path.mkdir(mode=0o755, exist_ok=True)
