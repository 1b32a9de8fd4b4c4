"""The one writable place of a sandbox: a bounded tmpfs that is attached nowhere on the host.

Bytes and inodes of everything a workload can write (``/work``, ``/tmp``, ``/dev/shm``) come out of one
quota. The agent's files lie on it too, read-only, on top of that quota. When the last holder of the file
descriptor is gone the kernel frees it, whatever killed whom.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from insula.sandbox import syscalls
from insula.sandbox.limits import Limits
from insula.sandbox.payload import Order

_FOLDERS = (("work", 0o700), ("tmp", 0o1777), ("shm", 0o1777))
_OWN_INODES = 8
_PAGE = 4096


def create(limits: Limits, uid: int, order_files: int, order_bytes: int) -> int:
    """Return a mount fd. ``order_files`` and ``order_bytes`` are what the agent's bundle adds."""
    # A file may end in a partly used page and need folders of its own.
    extra = order_bytes + order_files * _PAGE
    options = {
        "size": str(limits.workspace + extra),
        "nr_inodes": str(limits.inodes + order_files * 2 + _OWN_INODES),
        "mode": "0755",
    }
    fd = syscalls.new_tmpfs(options, syscalls.ATTR_NOSUID | syscalls.ATTR_NODEV)
    try:
        for name, mode in _FOLDERS:
            os.mkdir(name, dir_fd=fd)
            os.chmod(name, mode, dir_fd=fd)
            os.chown(name, uid, uid, dir_fd=fd)
        os.mkdir("agent", 0o755, dir_fd=fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_work(workspace: int) -> int:
    """Return a directory fd of ``/work``: the platform's hold on it for the harvest."""
    return os.open("work", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=workspace)


def lay(folder: str, order: Order, contents: Iterator[bytes]) -> None:
    """Write the agent's files below ``folder``, owned by root and closed to change."""
    made = {""}
    for (path, executable, _), data in zip(order.files, contents, strict=True):
        parent = path.rpartition("/")[0]
        if parent not in made:
            Path(folder, parent).mkdir(0o755, parents=True, exist_ok=True)
            made.add(parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = os.open(f"{folder}/{path}", flags, 0o555 if executable else 0o444)
        with os.fdopen(fd, "wb", buffering=0) as file:
            file.write(data)
