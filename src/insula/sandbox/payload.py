"""What a sandbox is started with, in one sealed memory file: an order and the agent's files.

Layout: 8 bytes length of the order (big endian), the order as JSON, then the contents of the files in the
order of their list.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class FileLike(Protocol):
    """A file of an agent's bundle: a clean relative path, permission bits, content."""

    @property
    def path(self) -> str: ...
    @property
    def mode(self) -> int: ...
    @property
    def data(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Order:
    """What to run. ``files`` lists path, executable or not, size; ``agent`` and ``door`` may be empty."""

    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    rootfs: str
    agent: str
    door: str
    files: tuple[tuple[str, bool, int], ...]


def write(order: Order, contents: Sequence[bytes]) -> int:
    """Return the fd of a sealed memory file."""
    head = json.dumps(asdict(order)).encode()
    return sealed(b"".join((len(head).to_bytes(8, "big"), head, *contents)))


def sealed(data: bytes) -> int:
    """Return the read-only fd of a memory file that nobody can change any more."""
    fd = os.memfd_create("insula", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(fd)


def read(fd: int) -> tuple[Order, Iterator[bytes]]:
    """Return the order and its files' contents, which are read as they are asked for."""
    size = int.from_bytes(os.pread(fd, 8, 0), "big")
    raw: dict[str, Any] = json.loads(os.pread(fd, size, 8))
    order = Order(
        command=tuple(raw["command"]),
        environment=tuple((name, value) for name, value in raw["environment"]),
        rootfs=raw["rootfs"],
        agent=raw["agent"],
        door=raw["door"],
        files=tuple((path, executable, length) for path, executable, length in raw["files"]),
    )
    return order, _contents(fd, 8 + size, order)


def _contents(fd: int, offset: int, order: Order) -> Iterator[bytes]:
    for _, _, length in order.files:
        yield os.pread(fd, length, offset)
        offset += length
