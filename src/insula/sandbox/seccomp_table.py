"""What a sandbox may ask of the kernel: data only. Everything that is not named here gets ``EPERM``."""

from __future__ import annotations

ALLOWED = frozenset(
    """
    accept accept4 access alarm arch_prctl bind brk capget capset chdir chmod chown clock_getres clock_gettime
    clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fgetxattr
    flistxattr flock fork fremovexattr fsetxattr fstat fstatfs ftruncate futex futex_requeue futex_wait
    futex_waitv futex_wake futimesat get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents
    getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid
    getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid
    gettimeofday getuid getxattr ioprio_get kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek
    lsetxattr lstat madvise map_shadow_stack membarrier memfd_create mincore mkdir mkdirat mknod mknodat mlock
    mlock2 mlockall mmap mprotect mremap mseal munlock munlockall munmap nanosleep newfstatat pause pidfd_open
    pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll pread64 preadv preadv2
    prlimit64 process_madvise pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
    recvfrom recvmmsg recvmsg removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_yield seccomp select sendfile sendmmsg
    sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups
    setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid
    setxattr shutdown sigaltstack signalfd signalfd4 splice stat statfs statx symlink symlinkat sysinfo tee
    tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
    timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat utime utimensat utimes
    vfork vmsplice wait4 waitid write writev
    """.split()  # noqa: SIM905 - a list of words reads as one
)
"""Allowed whatever the arguments."""

DONE_ALREADY = frozenset(["sync", "syncfs", "fsync", "fdatasync", "sync_file_range", "msync", "fadvise64"])
"""Answered with success and not executed: all that can be written inside is memory, so nothing is to be done.

On a file of the shared runtime each sync would make the host's disk empty its cache, 10,000 times a second,
and advice would take the file out of everybody's memory.
"""

WITHOUT_FLAG = (("open", 1), ("openat", 2))
"""Allowed without ``O_DIRECT`` in this argument: reading past the cache, one workload could take a disk."""

FCNTLS = (*range(4), *range(5, 12), 15, 16, 36, 37, 38, *range(1030, 1039))
"""``fcntl``: descriptors, locks, pipes, seals; no leases, no ``F_NOTIFY``. An allow-list, as for ``ioctl``.

``F_SETFL`` is allowed without ``O_DIRECT``.
"""

ABSENT = ("clone3", "openat2", "inotify_init", "inotify_init1")
"""Answered with ``ENOSYS``, so that libraries fall back.

The flags of the first two lie in memory, where a filter can't look. A watch on a file of the shared runtime
would tell whenever another tenant's run opens it.
"""

SOCKET_FAMILIES = (1, 2, 10)
"""``socket`` and ``socketpair``: UNIX, INET, INET6. No netlink, packet, vsock, alg, xdp, bluetooth."""

PRCTL_OPTIONS = (2, 3, 4, 7, 8, 15, 16, 21, 22, 23, 27, 29, 30, 36, 37, 38, 39, 40, 41, 42, 0x53564D41)
"""``prctl``: names, dumpable, timers, seccomp, subreaper, no-new-privs, huge pages, names of mappings.

Not ``PR_SET_PDEATHSIG`` (1): a workload that clears it would outlive the platform.
"""

IOCTLS = (
    *(0x5401, 0x5402, 0x5403, 0x5404, 0x540B, 0x540F, 0x5410, 0x5411, 0x5413, 0x541B, 0x5421, 0x5429),
    *(0x5450, 0x5451, 0x5452),
    *(0x8905, 0x8906, 0x8910, 0x8912, 0x8913, 0x8915, 0x8921, 0x8927, 0x8933),
)
"""``ioctl``: terminal attributes, bytes waiting, non-blocking, close-on-exec, interface queries.

An allow-list, compared in all 64 bits: a deny-list of TIOCSTI and TIOCLINUX is passed by setting a bit in
the half of the argument that the kernel ignores.
"""

PERSONALITIES = (0, 0xFFFFFFFF)
"""``personality``: the usual one, and asking which."""

NEW_NAMESPACES = 0x7E020000
"""``clone`` is allowed with none of these bits (``CLONE_NEW*``)."""
