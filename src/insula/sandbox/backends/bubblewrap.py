"""Bubblewrap: every namespace, its own user namespace on top, further ones forbidden.

The process is already an unprivileged host uid when ``bwrap`` starts: started by root, the workload would be
root to every file of ``/proc/sys``, whatever uid it sees itself as.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import ClassVar, NoReturn

from insula.sandbox import privileges, syscalls
from insula.sandbox.places import STAGE
from insula.sandbox.recipe import AGENT, HOSTNAME, Birth, Missing, Shared
from insula.sandbox.wire import still_wanted

_WALLS = (
    *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
    *("--unshare-cgroup", "--disable-userns", "--uid", "65534", "--gid", "65534", "--hostname", HOSTNAME),
    *("--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL", "--clearenv"),
)
_TRIAL_UID = 65533
_TRIAL = ("--ro-bind", "/", "/", "--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys")
_INSTALL = Missing("bubblewrap is not installed", "apt-get install bubblewrap")
_ALLOW = "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000"


def find() -> str | None:
    """Return the path of ``bwrap``."""
    return shutil.which("bwrap", path="/usr/bin:/usr/local/bin:/bin")


class Bubblewrap:
    name: ClassVar[str] = "bubblewrap"
    clone_flags: ClassVar[int] = 0
    seat_flags: ClassVar[int] = 0
    spare_pids: ClassVar[int] = 1
    speaks: ClassVar[bool] = True
    filtered: ClassVar[bool] = True

    def missing(self, bpf: bytes | None) -> list[Missing]:
        program = find()
        if program is None:
            return [_INSTALL]
        return [] if bpf is None else _try(program, bpf)

    def enter(self, birth: Birth) -> NoReturn:
        program = find()
        assert program is not None
        privileges.drop(birth.uid, birth.limits)
        if not still_wanted(birth.line):
            os._exit(127)
        syscalls.close_on_exec_from(3)
        bpf = _as_fd(birth.shared.bpf)
        os.set_inheritable(birth.line.fileno(), True)
        os.execve(program, arguments(birth, bpf, birth.line.fileno()), {})


def arguments(birth: Birth, bpf: int, status: int) -> list[str]:
    """Return the command line of ``bwrap``. ``bpf`` and ``status`` are fds that it inherits."""
    words = ["bwrap", *_WALLS, "--dev-bind", STAGE, "/", *_proc(birth.shared), "--chdir", AGENT]
    for name, value in birth.order.environment:
        words += ("--setenv", name, value)
    return [*words, "--seccomp", str(bpf), "--json-status-fd", str(status), "--", *birth.order.command]


def _proc(shared: Shared) -> list[str]:
    words = ["--proc", "/proc"]
    for name in shared.read_only:
        words += ("--ro-bind", f"/proc/{name}", f"/proc/{name}")
    for name, cover in shared.hidden:
        words += ("--ro-bind", cover, f"/proc/{name}")
    return words


def _as_fd(bpf: bytes) -> int:
    fd = os.memfd_create("seccomp", 0)
    os.write(fd, bpf)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _try(program: str, bpf: bytes) -> list[Missing]:
    fd = _as_fd(bpf)
    words = [program, *_WALLS, *_TRIAL, "--seccomp", str(fd), "--", "/bin/true"]
    try:
        done = subprocess.run(
            words, user=_TRIAL_UID, group=_TRIAL_UID, extra_groups=[], pass_fds=(fd,), env={}, timeout=20,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    finally:
        os.close(fd)
    if done.returncode == 0:
        return []
    said = done.stderr.decode(errors="replace").strip()[:300]
    return [Missing(f"bubblewrap does not work here: {said}", _ALLOW)]
