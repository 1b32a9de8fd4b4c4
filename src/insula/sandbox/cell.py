"""One sandbox as the spawner holds it: from an empty seat to nothing left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from insula.sandbox.cgroups import Group, Used
from insula.sandbox.recipe import Recipe
from insula.sandbox.verdict import Verdict, judge
from insula.sandbox.wire import still_wanted


@dataclass(slots=True)
class Cell:
    """Times are ``time.monotonic`` seconds. ``sandbox`` is the platform's number, ``None`` for a seat."""

    recipe: Recipe
    group: Group
    pid: int
    line: socket.socket
    sandbox: int | None = None
    lock: int = -1
    kill_at: float | None = None
    stopped_for: str | None = None
    status: int | None = None
    reported: bool = False
    said: list[str] = field(default_factory=list)

    def alive(self) -> bool:
        """Whether its first process still listens."""
        return self.status is None and still_wanted(self.line)

    def stop(self, reason: str, grace_s: float) -> None:
        """Ask the workload to end (SIGTERM to its pid 1) and set when it will be killed."""
        self.stopped_for = self.stopped_for or reason
        self.kill_at = time.monotonic() + grace_s
        if grace_s > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._first_process(), signal.SIGTERM)

    def overdue(self, now: float) -> bool:
        return self.status is None and self.kill_at is not None and now >= self.kill_at

    def kill(self, reason: str) -> None:
        """End everything in it now. Repeat until ``empty``."""
        self.stopped_for = self.stopped_for or reason
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.group.kill()

    def empty(self) -> bool:
        """Whether its first process was reaped and no other is left."""
        return self.status is not None and not self.group.pids()

    def end(self) -> tuple[Verdict, Used, str]:
        """Return how it ended, what it used, and what its birth complained of."""
        assert self.status is not None
        self._listen()
        used = self.group.used()
        problem = next((text for text in self.said if text.startswith('{"error"')), "")
        spoke = any('"exit-code"' in text for text in self.said)
        started = not problem and (spoke or not self.recipe.speaks)
        verdict = judge(self.status, started=started, stopped_for=self.stopped_for, oom_kills=used.oom_kills)
        return verdict, used, problem

    def close(self) -> None:
        self.line.close()
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while text := self.line.recv(1 << 16, socket.MSG_DONTWAIT):
                self.said.append(text.decode(errors="replace"))

    def _first_process(self) -> int:
        """The workload's pid 1: our child itself, or the child of a recipe's own process."""
        if self.recipe.spare_pids:
            for pid in self.group.pids():
                if _parent_of(pid) == self.pid:
                    return pid
        return self.pid


def _parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
