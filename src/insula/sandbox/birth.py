"""The life of a sandbox's first process between ``clone`` and ``execve``.

It begins as a copy of the spawner, takes a seat (its control group, its empty namespaces) before anybody
knows whom it will serve, waits for the order, and never returns from here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import NoReturn

from insula.sandbox import privileges, staging, syscalls, wire, workspace
from insula.sandbox.limits import Limits
from insula.sandbox.payload import read
from insula.sandbox.places import ATTIC
from insula.sandbox.recipe import Birth, Recipe, Shared

_LINE = 3


def be_born(line: socket.socket, join: Callable[[], None], recipe: Recipe, shared: Shared) -> NoReturn:
    """Take a seat, wait, become the sandbox. A failure is told on the line; the exit status is then 127."""
    try:
        line = _let_go_of_all_but(line)
        join()
        syscalls.unshare(recipe.seat_flags | syscalls.CLONE_NEWNS)
        arrived = wire.receive(line)
        if arrived is not None:
            message, fds = arrived
            recipe.enter(_receive_order(message, fds, line, shared))
    except BaseException as problem:
        with contextlib.suppress(OSError):
            wire.send(line, {"error": f"{type(problem).__name__}: {problem}"[:2000]})
    os._exit(127)


def _let_go_of_all_but(line: socket.socket) -> socket.socket:
    """Close every inherited fd: neighbours' lines and the spawner's own must not live on in here."""
    signal.set_wakeup_fd(-1)
    kept = line.detach()
    if kept != _LINE:
        os.dup2(kept, _LINE, inheritable=False)
    os.closerange(_LINE + 1, os.sysconf("SC_OPEN_MAX"))
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    return socket.socket(fileno=_LINE)


def _receive_order(message: dict[str, int], fds: list[int], line: socket.socket, shared: Shared) -> Birth:
    uid = int(message["uid"])
    limits = Limits.from_wire(message["limits"])  # type: ignore[arg-type]
    stdin, stdout, stderr, payload, tmpfs = fds
    order, contents = read(payload)
    if order.door:
        os.chown(order.door, uid, uid, follow_symlinks=False)
    staging.assemble(order, tmpfs)
    workspace.lay(f"{ATTIC}/agent", order, contents)
    os.setsid()
    for pipe in (stdout, stderr):
        os.fchown(pipe, uid, uid)  # or /dev/stdout could not be opened by its own user
    for source, target in ((stdin, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target, inheritable=True)
    wire.close_all(fds)
    privileges.restore_signals()
    return Birth(uid, order, limits, line, shared)
