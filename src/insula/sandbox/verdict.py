"""Decides how a sandbox ended, from what was seen. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass

EXITED, FAILED_TO_START, OOM, LOST = "exited", "failed_to_start", "oom", "lost"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``code`` is ``None`` exactly when a signal ended the workload or it never ran."""

    code: int | None
    signal: int | None
    reason: str


def judge(status: int, *, started: bool, stopped_for: str | None, oom_kills: int) -> Verdict:
    """``status`` is a wait status, ``stopped_for`` why we stopped it, if we did.

    Pid 1 of a sandbox cannot die of most signals and reports its child's as ``128 + n``, as shells do;
    so such a code is read as that signal.
    """
    signalled = os.WIFSIGNALED(status)
    code, number = (None, os.WTERMSIG(status)) if signalled else _as_shells_do(os.WEXITSTATUS(status))
    if stopped_for is not None:
        return Verdict(code, number, stopped_for)
    if not started:
        return Verdict(None, None, FAILED_TO_START)
    if oom_kills and code != 0:
        return Verdict(code, number, OOM)
    return Verdict(code, number, EXITED)


def _as_shells_do(code: int) -> tuple[int | None, int | None]:
    return (None, code - 128) if 128 < code <= 128 + 64 else (code, None)
