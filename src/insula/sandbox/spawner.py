"""The small process that starts and ends sandboxes: one thread, one loop, no knowledge of tenants.

The platform is large and threaded; forking it would be slow and unsafe. This process stays small, keeps the
compiled filter and the shared mounts ready, is the parent of every sandbox and reaps whatever is orphaned.
It keeps seats ready: processes that already sit in their control group and namespaces but do not know for
whom.

When the platform's end of the socket closes, for whatever reason, it kills every sandbox, removes the
control groups and exits. When it dies itself, the kernel kills its children, and the next spawner sweeps.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from dataclasses import asdict
from typing import Any

from insula.sandbox import instances, staging, syscalls, wire, workspace
from insula.sandbox.cell import Cell
from insula.sandbox.limits import Limits
from insula.sandbox.nursery import Nursery
from insula.sandbox.recipe import Shared
from insula.sandbox.survey import Survey, survey

_RETRY_S = 0.002
_REFILL_AFTER_S = 0.03
_TIMED_OUT = "timed_out"


class Spawner:
    """``control`` leads to the platform."""

    def __init__(self, control: socket.socket, found: Survey) -> None:
        self._control = control
        self._by_pid: dict[int, Cell] = {}
        self._by_id: dict[int, Cell] = {}
        self._unsent: deque[tuple[dict[str, Any], list[int]]] = deque()
        self._refill_at: float | None = None
        self._closing = False
        self._instance = instances.Instance()
        shared = Shared(found.bpf or b"", tuple(staging.proc_read_only()), tuple(staging.proc_hidden()))
        self._nursery = Nursery(self._instance.groups, shared, self._adopt)

    def run(self) -> None:
        """Serve until the platform is gone and nothing is left."""
        wake = wake_on_child()
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while not self._closing or self._by_pid:
            ready = dict(poll.poll(self._patience_ms()))
            if wake in ready:
                os.read(wake, 4096)
            if self._control.fileno() in ready and not self._hear():
                poll.unregister(self._control)
                self._close()
            self._reap()
            self._advance(time.monotonic())
            self._flush()
        self._instance.close()

    def _patience_ms(self) -> float | None:
        """How long nothing will need doing; ``None``: for ever."""
        now = time.monotonic()
        times = [cell.kill_at for cell in self._by_pid.values() if cell.kill_at and cell.status is None]
        if self._unsent or any(cell.status is not None for cell in self._by_pid.values()):
            times.append(now + _RETRY_S)
        if self._refill_at is not None:
            times.append(self._refill_at)
        return max(0.0, (min(times) - now) * 1000 + 0.1) if times else None

    def _hear(self) -> bool:
        """Do what the platform asks; false when it is gone."""
        arrived = wire.receive(self._control)
        if arrived is None:
            return False
        message, fds = arrived
        try:
            getattr(self, f"_on_{message['op']}")(message, fds)
        finally:
            wire.close_all(fds)
        return True

    def _on_seats(self, message: dict[str, Any], _fds: list[int]) -> None:
        self._nursery.keep_ready(message["recipe"], int(message["count"]))
        self._refill_at = time.monotonic()

    def _on_stop(self, message: dict[str, Any], _fds: list[int]) -> None:
        cell = self._by_id.get(message["id"])
        if cell is not None:
            cell.stop(message["reason"], float(message["grace_s"]))

    def _on_launch(self, message: dict[str, Any], fds: list[int]) -> None:
        try:
            work = self._launch(message, fds)
        except OSError as problem:
            self._tell({"event": "refused", "id": message["id"], "problem": str(problem)[:500]})
        else:
            self._tell({"event": "launched", "id": message["id"]}, [work])
        self._refill_at = time.monotonic() + _REFILL_AFTER_S

    def _launch(self, message: dict[str, Any], fds: list[int]) -> int:
        *streams, lock = fds
        limits = Limits.from_wire(message["limits"])
        tmpfs = workspace.create(limits, message["uid"], message["files"], message["bytes"])
        try:
            work = workspace.open_work(tmpfs)
            cell = self._nursery.take(message["recipe"])
            try:
                cell.group.limit(limits, cell.recipe.spare_pids)
                wire.send(cell.line, {"uid": message["uid"], "limits": message["limits"]}, [*streams, tmpfs])
            except OSError:
                os.close(work)
                cell.kill("refused")
                raise
        finally:
            os.close(tmpfs)
        cell.sandbox, cell.lock = message["id"], os.dup(lock)
        cell.kill_at = time.monotonic() + limits.wall_s
        self._by_id[message["id"]] = cell
        return work

    def _adopt(self, cell: Cell) -> None:
        self._by_pid[cell.pid] = cell

    def _reap(self) -> None:
        """Collect every dead child, also those that were orphaned to us."""
        with contextlib.suppress(ChildProcessError):
            while (dead := os.waitpid(-1, os.WNOHANG))[0]:
                cell = self._by_pid.get(dead[0])
                if cell is not None:
                    cell.status = dead[1]

    def _advance(self, now: float) -> None:
        for cell in list(self._by_pid.values()):
            if cell.overdue(now):
                cell.kill(_TIMED_OUT)
                cell.kill_at = now + _RETRY_S
            if cell.status is not None:
                self._finish(cell)
        if self._refill_at is not None and now >= self._refill_at and not self._closing:
            self._refill_at = now if self._nursery.refill() else None

    def _finish(self, cell: Cell) -> None:
        """Take one step towards nothing left; come back until it is so."""
        if not cell.empty():
            cell.group.kill()
            return
        if not cell.reported:
            self._report(cell)
        if cell.group.remove():
            cell.close()
            del self._by_pid[cell.pid]
            if cell.sandbox is not None:
                del self._by_id[cell.sandbox]
                self._tell({"event": "gone", "id": cell.sandbox})

    def _report(self, cell: Cell) -> None:
        cell.reported = True
        if cell.sandbox is None:
            self._nursery.forget(cell)
            return
        verdict, used, problem = cell.end()
        facts = {**asdict(verdict), **asdict(used), "problem": problem}
        self._tell({"event": "exit", "id": cell.sandbox, **facts})

    def _tell(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        self._unsent.append((message, fds or []))
        self._flush()

    def _flush(self) -> None:
        """Send what waits. A platform that does not listen must not keep us from killing."""
        while self._unsent:
            message, fds = self._unsent[0]
            try:
                wire.send(self._control, message, fds)
            except BlockingIOError:
                return
            except OSError:
                pass
            self._unsent.popleft()
            wire.close_all(fds)

    def _close(self) -> None:
        self._closing = True
        for cell in self._by_pid.values():
            cell.kill("platform_gone")
            cell.kill_at = time.monotonic() + _RETRY_S


def wake_on_child() -> int:
    """Return an fd that becomes readable when a child has died."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reader


def main(control_fd: int) -> int:
    """Body of the spawner process. ``control_fd`` is its end of the pair."""
    os.setsid()
    # The platform ends us by closing the socket: a Ctrl-C in its terminal must not come first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    found = survey()
    missing = {name: [asdict(lack) for lack in lacks] for name, lacks in found.missing.items()}
    wire.send(control, {"event": "ready", "missing": missing})
    if not found.usable:
        return 0
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    spawner = Spawner(control, found)
    control.setblocking(False)
    gc.freeze()
    spawner.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
