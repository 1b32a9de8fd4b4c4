"""Programs that run inside a sandbox and tell, as JSON, what they saw. Harmless wherever they run."""
# ruff: noqa: E501 - a table of calls

INSIDE = r'''
import ctypes, errno, json, os, socket, stat
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def call(number, *arguments):
    """The name of the error, or "reached" when the kernel let it through."""
    done = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments))
    if done >= 0:
        return "reached"
    return errno.errorcode[ctypes.get_errno()]

def attempt(action):
    try:
        result = action()
    except OSError as problem:
        return errno.errorcode[problem.errno]
    except ValueError as problem:
        return str(problem)
    return "reached" if result is None else result

def opened(path, flags):
    os.close(os.open(path, flags))

def family(number, kind=socket.SOCK_RAW):
    socket.socket(number, kind).close()

def kept_fds():
    """Those that are still open once the listing is over."""
    found = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    return [fd for fd in found if attempt(lambda fd=fd: os.fstat(fd) and None) == "reached"]

def connects(address):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.settimeout(2)
        one.connect(address)

def talks_to_itself():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            return "reached"

def abstract():
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("\0insula-canary")

NEW = {"user": 0x10000000, "mount": 0x20000, "net": 0x40000000, "pid": 0x20000000}
CALLS = {
    "ptrace": (101, 0, 0, 0, 0), "process_vm_readv": (310, 1, 0, 0, 0, 0, 0), "kcmp": (312, 1, 1, 0, 0, 0),
    "io_uring_setup": (425, 1, 0), "add_key": (248, 0, 0, 0, 0, -3), "request_key": (249, 0, 0, 0, 0),
    "keyctl": (250, 0, -3, 0), "bpf": (321, 0, 0, 0), "perf_event_open": (298, 0, 0, -1, -1, 0),
    "userfaultfd": (323, 1), "mount": (165, 0, 0, 0, 0, 0), "umount2": (166, 0, 0), "fsopen": (430, 0, 0),
    "open_tree": (428, -100, 0, 0), "move_mount": (429, -1, 0, -1, 0, 0), "mount_setattr": (442, -1, 0, 0, 0, 0),
    "chroot": (161, 0), "pivot_root": (155, 0, 0), "setns": (308, -1, 0), "init_module": (175, 0, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0), "open_by_handle_at": (304, -1, 0, 0), "name_to_handle_at": (303, -1, 0, 0, 0, 0),
    "fanotify_init": (300, 0, 0), "memfd_secret": (447, 0), "pidfd_getfd": (438, -1, 0, 0), "shmget": (29, 0, 4096, 0o1600),
    "semget": (64, 0, 1, 0o1600), "msgget": (68, 0, 0o1600), "mq_open": (240, 0, 0, 0, 0), "syslog": (103, 3, 0, 0),
    "quotactl": (179, 0, 0, 0, 0), "swapon": (167, 0, 0), "reboot": (169, 0, 0, 0, 0), "settimeofday": (164, 0, 0),
    "clock_settime": (227, 0, 0), "adjtimex": (159, 0), "sethostname": (170, 0, 0), "acct": (163, 0),
    "unshare_user": (272, NEW["user"]), "unshare_mount": (272, NEW["mount"]), "unshare_net": (272, NEW["net"]),
    "clone_user": (56, NEW["user"] | 17, 0, 0, 0, 0), "clone3": (435, 0, 0), "iopl": (172, 3),
    "sched_setscheduler": (144, 0, 1, 0), "ioprio_set": (251, 1, 0, 0), "personality": (135, 0x0040000),
    "pdeathsig": (157, 1, 0, 0, 0, 0), "tiocsti": (16, 0, 0x5412, 0), "tiocsti_high_bits": (16, 0, 0x100005412, 0),
    "tioclinux": (16, 0, 0x541C, 0), "vhangup": (153,), "nfsservctl": (180, 0, 0, 0), "lookup_dcookie": (212, 0, 0, 0),
}
STATUS = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
print(json.dumps({
    "status": STATUS,
    "uid_map": open("/proc/self/uid_map").read().split(),
    "pid": os.getpid(), "sid": os.getsid(0), "cwd": os.getcwd(), "groups": os.getgroups(),
    "fds": kept_fds(),
    "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    "calls": {name: call(*words) for name, words in CALLS.items()},
    "write": {path: attempt(lambda p=path: opened(p, os.O_WRONLY)) for path in (
        "/proc/sys/kernel/core_pattern", "/proc/sys/fs/file-max", "/proc/sys/kernel/hostname",
        "/proc/sys/net/ipv4/ip_forward", "/proc/sys/user/max_user_namespaces", "/proc/sysrq-trigger",
        "/proc/self/exe", "/etc/passwd", "/agent/main.py", "/run/insula/agent/x", "/proc/1/oom_score_adj.x",
        "/dev/mem", "/proc/kcore")},
    "create": {path: attempt(lambda p=path: opened(p + "/x", os.O_WRONLY | os.O_CREAT)) for path in (
        "/", "/etc", "/usr", "/dev", "/agent", "/run", "/run/insula", "/proc", "/var",
        "/work", "/tmp", "/dev/shm")},
    "hidden": {name: attempt(lambda n=name: open("/proc/" + n, "rb").read(64).hex()) for name in (
        "keys", "key-users", "kallsyms", "kcore", "kmsg", "locks", "timer_list", "slabinfo")
        if os.path.exists("/proc/" + name)},
    "families": {name: attempt(lambda f=number: family(f)) for name, number in (
        ("packet", 17), ("netlink", 16), ("alg", 38), ("vsock", 40), ("can", 29), ("tipc", 30), ("xdp", 44),
        ("qipcrtr", 42), ("bluetooth", 31), ("key", 15))},
    "connect": {
        "host": attempt(lambda: connects(("HOST", 1))), "metadata": attempt(lambda: connects(("169.254.169.254", 80))),
        "anywhere": attempt(lambda: connects(("192.0.2.1", 80))), "loopback": attempt(lambda: connects(("127.0.0.1", PORT))),
        "itself": attempt(talks_to_itself), "abstract": attempt(abstract)},
    "interfaces": sorted(
        line.split(":")[0].strip() for line in open("/proc/net/dev").read().splitlines()[2:]),
    "devices": sorted(os.listdir("/dev")),
    "tty": attempt(lambda: opened("/dev/tty", os.O_RDWR)),
    "mknod": attempt(lambda: os.mknod("/work/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))),
    "hostname": socket.gethostname(),
    "mounts": open("/proc/self/mountinfo").read(),
    "cgroup": open("/proc/self/cgroup").read(),
    "environment": dict(os.environ),
    "sockets": [os.path.join(where, name) for where, _, names in os.walk("/") if not where.startswith("/proc")
                for name in names if stat.S_ISSOCK(os.lstat(os.path.join(where, name)).st_mode)],
    "setuid": [os.path.join(where, name) for where, _, names in os.walk("/usr") for name in names
               if os.lstat(os.path.join(where, name)).st_mode & 0o6000 and not os.path.islink(os.path.join(where, name))],
    "raise_limit": attempt(lambda: __import__("resource").setrlimit(7, (1 << 20, 1 << 20))),
    "limits": {name: __import__("resource").getrlimit(number) for name, number in (("core", 4), ("files", 7), ("rtprio", 14))},
}))
'''
