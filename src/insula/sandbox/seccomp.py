"""Compiles the table of allowed system calls to the kernel's filter language."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import Any

from insula.sandbox import seccomp_table as table


def compile_filter() -> bytes:
    """Return the filter as classic BPF for this machine's native architecture.

    Calls of a foreign architecture or ABI (32 bit, x32) kill the thread. Raises ``RuntimeError`` when
    libseccomp is not installed.
    """
    import pyseccomp

    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    # A decision tree instead of a list: a call costs eight comparisons instead of up to three hundred.
    rules.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)
    for name in sorted(table.ALLOWED):
        _allow(pyseccomp, rules, name)
    for name in sorted(table.DONE_ALREADY):
        rules.add_rule(pyseccomp.ERRNO(0), name)
    for name, values in _BY_FIRST_ARGUMENT.items():
        for value in values:
            _allow(pyseccomp, rules, name, pyseccomp.Arg(0, pyseccomp.EQ, value))
    for name, commands in (("ioctl", table.IOCTLS), ("fcntl", table.FCNTLS)):
        for command in commands:
            _allow(pyseccomp, rules, name, pyseccomp.Arg(1, pyseccomp.EQ, command))
    _allow(pyseccomp, rules, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, table.NEW_NAMESPACES, 0))
    _forbid_direct_io(pyseccomp, rules)
    for name in table.ABSENT:
        rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), name)
    return _exported(rules)


_BY_FIRST_ARGUMENT = {
    "socket": table.SOCKET_FAMILIES,
    "socketpair": table.SOCKET_FAMILIES,
    "prctl": table.PRCTL_OPTIONS,
    "personality": table.PERSONALITIES,
}


def _allow(pyseccomp: Any, rules: Any, name: str, *arguments: Any) -> None:
    # A name that this architecture or library version lacks stays forbidden.
    with contextlib.suppress(OSError):
        rules.add_rule(pyseccomp.ALLOW, name, *arguments)


def _forbid_direct_io(pyseccomp: Any, rules: Any) -> None:
    for name, position in table.WITHOUT_FLAG:
        _allow(pyseccomp, rules, name, pyseccomp.Arg(position, pyseccomp.MASKED_EQ, os.O_DIRECT, 0))
    set_flags = pyseccomp.Arg(1, pyseccomp.EQ, fcntl.F_SETFL)
    _allow(pyseccomp, rules, "fcntl", set_flags, pyseccomp.Arg(2, pyseccomp.MASKED_EQ, os.O_DIRECT, 0))


def _exported(rules: Any) -> bytes:
    with os.fdopen(os.memfd_create("seccomp", os.MFD_CLOEXEC), "w+b", buffering=0) as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
