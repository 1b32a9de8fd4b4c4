"""Namespaces without help: the same walls as bubblewrap except the user namespace, made by ourselves."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
from typing import ClassVar, NoReturn

from insula.sandbox import privileges, staging, syscalls, wire
from insula.sandbox.places import STAGE
from insula.sandbox.recipe import AGENT, HOSTNAME, Birth, Missing
from insula.sandbox.wire import still_wanted

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


class Namespace:
    name: ClassVar[str] = "namespace"
    clone_flags: ClassVar[int] = syscalls.CLONE_NEWPID
    seat_flags: ClassVar[int] = (
        syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP
    )
    spare_pids: ClassVar[int] = 0
    speaks: ClassVar[bool] = False
    filtered: ClassVar[bool] = True

    def missing(self, bpf: bytes | None) -> list[Missing]:
        pid = syscalls.clone(0)
        if pid == 0:
            os._exit(_trial(self.clone_flags | self.seat_flags))
        status = os.waitpid(pid, 0)[1]
        if status == 0:
            return []
        problem = os.strerror(os.waitstatus_to_exitcode(status))
        return [Missing(f"the kernel refuses new namespaces: {problem}", "run as root, outside a container")]

    def enter(self, birth: Birth) -> NoReturn:
        socket.sethostname(HOSTNAME)
        raise_loopback()
        staging.mount_proc(birth.shared.read_only, birth.shared.hidden)
        os.chdir(STAGE)
        syscalls.pivot_root_here()
        os.chdir(AGENT)
        finish(birth, birth.shared.bpf)


def finish(birth: Birth, bpf: bytes | None) -> NoReturn:
    """Drop everything and execute the command; a command that can't be executed ends with status 127."""
    os.umask(0o022)
    environment = dict(birth.order.environment)
    privileges.drop(birth.uid, birth.limits)
    if not still_wanted(birth.line):
        os._exit(127)
    syscalls.close_on_exec_from(3)
    if bpf is not None:
        syscalls.set_seccomp_filter(bpf)
    try:
        os.execvpe(birth.order.command[0], list(birth.order.command), environment)
    except OSError as problem:
        said = f"cannot execute {birth.order.command[0]}: {problem.strerror}"
        os.write(2, f"{said}\n".encode())
        wire.send(birth.line, {"error": said})
    os._exit(127)


def raise_loopback() -> None:
    """Bring up ``lo``: the only interface there is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", _IFF_UP)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)


def _trial(flags: int) -> int:
    try:
        syscalls.unshare(flags | syscalls.CLONE_NEWNS)
    except OSError as problem:
        return problem.errno or signal.SIGABRT
    return 0
