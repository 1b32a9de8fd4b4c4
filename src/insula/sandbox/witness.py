"""Sees the kernel free a workspace.

A watch on a folder of a file system holds neither its mount nor a file of it, and is told when the file
system itself is shut down: that is, when nothing anywhere (no process, no descriptor, none in flight through
a socket) has it any more. See inotify(7), ``IN_UNMOUNT``.
"""

from __future__ import annotations

import asyncio
import os
import struct

from insula.sandbox import syscalls

_EVENT = struct.Struct("iIII")
_READ = 1 << 16


class Witness:
    """One for all sandboxes of a platform."""

    def __init__(self) -> None:
        self._fd = syscalls.new_watcher()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        asyncio.get_running_loop().add_reader(self._fd, self._hear)

    def watch(self, folder: int) -> asyncio.Future[None]:
        """Return what is done once the file system of the folder fd has been freed."""
        number = syscalls.watch_for_unmount(self._fd, folder)
        freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = freed
        return freed

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        for freed in self._waiting.values():
            freed.cancel()

    def _hear(self) -> None:
        data = os.read(self._fd, _READ)
        offset = 0
        while offset < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size + length
            freed = self._waiting.pop(number, None) if mask & syscalls.IN_UNMOUNT else None
            if freed is not None and not freed.done():
                freed.set_result(None)
