"""Messages between the platform, its spawner and a sandbox being born: one JSON object each, with fds.

A message is one packet of a ``SOCK_SEQPACKET`` pair, so it arrives whole or not at all. What may be large
(bundles, environments, input) travels in memory files passed along.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

_MOST_BYTES = 1 << 16
_MOST_FDS = 16


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send one message. Raises ``OSError`` (``BlockingIOError`` on a full non-blocking socket)."""
    data = json.dumps(message, separators=(",", ":")).encode()
    assert len(data) <= _MOST_BYTES
    socket.send_fds(end, [data], list(fds))


def receive(end: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next message and its fds (close-on-exec, the caller's to close), or ``None`` at the end."""
    try:
        data, fds, _, _ = socket.recv_fds(end, _MOST_BYTES, _MOST_FDS, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None
    return (json.loads(data), fds) if data else None


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def still_wanted(end: socket.socket) -> bool:
    """Whether the process at the other end lives and has said nothing more."""
    try:
        end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False
