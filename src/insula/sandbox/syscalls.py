"""The few system calls that Python 3.11 does not offer, as functions that raise ``OSError``.

Facts: numbers from 424 up are the same on every architecture; ``clone`` and ``pivot_root`` are not.
"""

from __future__ import annotations

import ctypes
import os
import platform
from ctypes import c_char_p, c_int, c_long, c_uint, c_ulong, c_void_p

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE, MS_SLAVE = 2, 4, 8, 1 << 14, 1 << 18, 1 << 19
MNT_DETACH = 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC = 1, 2, 4, 8
IN_UNMOUNT, IN_DELETE_SELF = 0x2000, 0x400
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 1, 2, 4, 8

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47
SECCOMP_MODE_FILTER, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4

_ARM = platform.machine() == "aarch64"
_CLONE, _PIVOT_ROOT, _CAPSET = (220, 41, 91) if _ARM else (56, 155, 126)
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 436, 437, 442
_AT_FDCWD, _AT_EMPTY_PATH, _SIGCHLD, _CLOEXEC = -100, 0x1000, 17, 0o2000000
_CLOSE_RANGE_CLOEXEC, _MOVE_FROM_FD, _OPEN_TREE_CLONE = 4, 4, 1
_FSCONFIG_SET_STRING, _FSCONFIG_CREATE = 1, 6

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = c_long
_libc.mount.argtypes = (c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_libc.prctl.argtypes = (c_int, c_ulong, c_ulong, c_ulong, c_ulong)


def _checked(result: int, *path: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), *path)
    return result


def clone(flags: int) -> int:
    """Fork with new namespaces; return 0 in the child and its pid in the parent.

    No fork handler runs, so the caller must have one thread.
    """
    nothing = c_ulong(0)
    return _checked(_syscall(c_long(_CLONE), c_ulong(flags | _SIGCHLD), nothing, nothing, nothing, nothing))


def unshare(flags: int) -> None:
    """Move the caller into new namespaces."""
    _checked(_libc.unshare(c_int(flags)))


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    """``prctl(2)``."""
    return _checked(_libc.prctl(option, a, b, c, d))


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """``mount(2)``."""
    done = _libc.mount(source.encode(), os.fsencode(target), kind.encode(), flags, data.encode())
    _checked(done, target)


def unmount(target: str) -> None:
    """Take ``target`` out of the tree at once; it ends when nobody uses it."""
    _checked(_libc.umount2(os.fsencode(target), c_int(MNT_DETACH)), target)


def pivot_root_here() -> None:
    """Make the current directory the root and let the old root go."""
    _checked(_syscall(c_long(_PIVOT_ROOT), c_char_p(b"."), c_char_p(b".")))
    unmount(".")


def new_tmpfs(options: dict[str, str], attributes: int) -> int:
    """Return a mount fd of a fresh tmpfs that is attached nowhere."""
    context = _checked(_syscall(c_long(_FSOPEN), c_char_p(b"tmpfs"), c_uint(1)))
    try:
        for name, value in options.items():
            _configure(context, _FSCONFIG_SET_STRING, name.encode(), value.encode())
        _configure(context, _FSCONFIG_CREATE, None, None)
        return _checked(_syscall(c_long(_FSMOUNT), c_int(context), c_uint(1), c_uint(attributes)))
    finally:
        os.close(context)


def _configure(context: int, command: int, name: bytes | None, value: bytes | None) -> None:
    arguments = (c_int(context), c_uint(command), c_char_p(name), c_char_p(value), c_int(0))
    _checked(_syscall(c_long(_FSCONFIG), *arguments))


def clone_mount(path: str) -> int:
    """Return a mount fd of a detached copy of the one mount at ``path``, without what is mounted below."""
    flags = _OPEN_TREE_CLONE | _CLOEXEC
    return _checked(_syscall(c_long(_OPEN_TREE), c_int(_AT_FDCWD), os.fsencode(path), c_uint(flags)), path)


def set_mount_attributes(mount_fd: int, attributes: int) -> None:
    """Add ``attributes`` (``ATTR_*``) to the mount behind ``mount_fd``."""
    request = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    arguments = (c_int(mount_fd), c_char_p(b""), c_uint(_AT_EMPTY_PATH), ctypes.byref(request))
    _checked(_syscall(c_long(_MOUNT_SETATTR), *arguments, c_ulong(32)))


def attach_mount(mount_fd: int, path: str) -> None:
    """Attach the detached mount behind ``mount_fd`` at ``path``."""
    arguments = (c_int(mount_fd), c_char_p(b""), c_int(_AT_FDCWD), os.fsencode(path), c_uint(_MOVE_FROM_FD))
    _checked(_syscall(c_long(_MOVE_MOUNT), *arguments), path)


def open_beneath(folder: int, path: bytes, flags: int) -> int:
    """Open ``path`` below the folder fd and nowhere else: no link is followed, no mount is crossed."""
    rules = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
    how = (ctypes.c_uint64 * 3)(flags | _CLOEXEC, 0, rules)
    arguments = (c_int(folder), c_char_p(path), ctypes.byref(how), c_ulong(24))
    return _checked(_syscall(c_long(_OPENAT2), *arguments), os.fsdecode(path))


def new_watcher() -> int:
    """Return an inotify fd that does not block."""
    return _checked(_libc.inotify_init1(c_int(os.O_NONBLOCK | os.O_CLOEXEC)))


def watch_for_unmount(watcher: int, folder: int) -> int:
    """Watch the folder fd; return the number that ``IN_UNMOUNT`` will carry."""
    path = f"/proc/self/fd/{folder}".encode()
    return _checked(_libc.inotify_add_watch(c_int(watcher), c_char_p(path), c_uint(IN_DELETE_SELF)))


def close_on_exec_from(first: int) -> None:
    """Mark every open fd from ``first`` up to be closed by the next ``execve``."""
    arguments = (c_uint(first), c_uint(0xFFFFFFFF), c_uint(_CLOSE_RANGE_CLOEXEC))
    _checked(_syscall(c_long(_CLOSE_RANGE), *arguments))


def clear_capabilities() -> None:
    """Empty the permitted, effective and inheritable sets of the caller."""
    header = (c_uint * 2)(0x20080522, 0)
    _checked(_syscall(c_long(_CAPSET), ctypes.byref(header), ctypes.byref((c_uint * 6)())))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", c_void_p))


def set_seccomp_filter(bpf: bytes) -> None:
    """Load a compiled filter, for good. Needs no-new-privs."""
    code = ctypes.create_string_buffer(bpf, len(bpf))
    program = _Program(len(bpf) // 8, ctypes.addressof(code))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))
