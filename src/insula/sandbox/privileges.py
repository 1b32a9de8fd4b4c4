"""Gives up what a process could harm the host with. Nothing here can be taken back by the process."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

from insula.sandbox import syscalls
from insula.sandbox.limits import Limits

_LAST_CAPABILITY = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
_OPEN_FILES = (1024, 4096)
_LOCKED_BYTES = 1 << 20


def drop(uid: int, limits: Limits) -> None:
    """Become ``uid`` with no group, capability or way to regain one, under resource limits."""
    _prefer_as_oom_victim()
    _set_resource_limits(limits)
    for capability in range(_LAST_CAPABILITY + 1):
        syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    syscalls.clear_capabilities()
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    # After the change of uid, which clears it.
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _prefer_as_oom_victim() -> None:
    """When the host itself runs short, sandboxes go before the platform."""
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(fd, b"600")
    os.close(fd)


def _set_resource_limits(limits: Limits) -> None:
    ceilings = (
        # Not 0: that only forbids files. 1 also keeps a host's core handler, which runs as root, out of it.
        (resource.RLIMIT_CORE, (1, 1)),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, (limits.pids + 8,) * 2),
        (resource.RLIMIT_FSIZE, (max(limits.workspace, limits.memory),) * 2),
        (resource.RLIMIT_MEMLOCK, (_LOCKED_BYTES,) * 2),
        (resource.RLIMIT_MSGQUEUE, (0, 0)),
        (resource.RLIMIT_RTPRIO, (0, 0)),
        (resource.RLIMIT_NICE, (0, 0)),
    )
    for kind, values in ceilings:
        resource.setrlimit(kind, values)


def restore_signals() -> None:
    """Undo what Python ignores: a program expects to die of a broken pipe."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
