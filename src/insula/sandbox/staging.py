"""Assembles what a sandbox sees as its root, in the mount namespace of the process being born.

::

    /                 the runtime, read-only           /work /tmp /dev/shm   the workspace
    /agent            the agent's files, read-only      /dev                  six harmless devices, read-only
    /run/insula/agent what becomes pid 1, read-only     /run/insula/door.sock the run's only way out

The runtime must have these mount points. Only single mounts are copied: what an operator mounted below a
runtime never comes along.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from insula.sandbox import syscalls
from insula.sandbox.payload import Order
from insula.sandbox.places import ATTIC, STAGE, TEMPLATE

_SAFE = syscalls.ATTR_NOSUID | syscalls.ATTR_NODEV
_READ_ONLY = _SAFE | syscalls.ATTR_RDONLY
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_PROC_READ_ONLY = ("sys", "sysrq-trigger")
_PROC_HIDDEN = (
    *("keys", "key-users", "kallsyms", "kcore", "kmsg", "timer_list", "sched_debug", "modules", "locks"),
    *("slabinfo", "vmallocinfo", "interrupts", "acpi", "scsi", "asound", "driver"),
)


def prepare_template() -> None:
    """Fill ``TEMPLATE`` in the spawner's own mount namespace. Raises ``OSError`` if devices can't be made."""
    syscalls.mount("none", "/", "", syscalls.MS_SLAVE | syscalls.MS_REC)
    syscalls.mount("tmpfs", TEMPLATE, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NOEXEC, "size=64k,mode=0755")
    for folder in ("dev", "dev/shm", "void"):
        Path(TEMPLATE, folder).mkdir(0o755)
    os.close(os.open(f"{TEMPLATE}/blank", os.O_CREAT | os.O_WRONLY, 0o444))
    for name, (major, minor) in _DEVICES.items():
        device = Path(TEMPLATE, "dev", name)
        os.mknod(device, stat.S_IFCHR, os.makedev(major, minor))
        device.chmod(0o666)
    for name, target in _LINKS.items():
        Path(TEMPLATE, "dev", name).symlink_to(target)


def assemble(order: Order, workspace: int) -> None:
    """Build the root at ``STAGE``. The caller must be in a mount namespace of its own."""
    # What the host mounts from here on never appears inside, on hosts that share their mounts too.
    syscalls.mount("none", "/", "", syscalls.MS_PRIVATE | syscalls.MS_REC)
    syscalls.attach_mount(workspace, ATTIC)
    _place(order.rootfs, "", _READ_ONLY)
    _place(f"{ATTIC}/work", "/work", _SAFE)
    _place(f"{ATTIC}/tmp", "/tmp", _SAFE)  # noqa: S108
    _place(f"{ATTIC}/agent", "/agent", _READ_ONLY)
    _place(f"{TEMPLATE}/dev", "/dev", syscalls.ATTR_RDONLY | syscalls.ATTR_NOSUID | syscalls.ATTR_NOEXEC)
    _place(f"{ATTIC}/shm", "/dev/shm", _SAFE | syscalls.ATTR_NOEXEC)  # noqa: S108
    if order.agent:
        _place(order.agent, "/run/insula/agent", _READ_ONLY)
    if order.door:
        _place(order.door, "/run/insula/door.sock", _READ_ONLY)


def _place(source: str, target: str, attributes: int) -> None:
    fd = syscalls.clone_mount(source)
    try:
        syscalls.set_mount_attributes(fd, attributes)
        syscalls.attach_mount(fd, STAGE + target)
    finally:
        os.close(fd)


def proc_read_only() -> list[str]:
    """Names below ``/proc`` that must not be written by anybody inside.

    The others (``irq``, ``bus``, ``fs``) belong to the host's root, whom nobody inside is or can become; each
    mount costs a start 0.1 ms.
    """
    return [name for name in _PROC_READ_ONLY if Path("/proc", name).exists()]


def proc_hidden() -> list[tuple[str, str]]:
    """Names below ``/proc`` that tell about the host, each with what covers it.

    Those that only root may read need no cover: nobody inside is root on the host.
    """
    found = []
    for name in _PROC_HIDDEN:
        try:
            mode = Path("/proc", name).stat().st_mode
        except OSError:
            continue
        if mode & stat.S_IROTH:
            found.append((name, f"{TEMPLATE}/{'void' if stat.S_ISDIR(mode) else 'blank'}"))
    return found


def mount_proc(read_only: Iterable[str], hidden: Iterable[tuple[str, str]]) -> None:
    """Mount ``/proc`` of the caller's own pid namespace below ``STAGE``, closed where it reaches the host."""
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("proc", f"{STAGE}/proc", "proc", flags)
    for name in read_only:
        _place(f"{STAGE}/proc/{name}", f"/proc/{name}", _READ_ONLY)
    for name, cover in hidden:
        _place(cover, f"/proc/{name}", _READ_ONLY)
