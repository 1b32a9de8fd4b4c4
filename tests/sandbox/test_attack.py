"""Ways out and ways to wear the platform down that were tried against it. Each must stay closed."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from insula.sandbox import sandbox as sandbox_module
from insula.tenancy import Rung

PARK_IN_A_CYCLE = """
import array, os, socket
for _ in range(50):
    a, b = socket.socketpair()
    fds = array.array("i", [a.fileno(), b.fileno(), os.open("/work", os.O_RDONLY)])
    for end in (a, b):
        end.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    a.detach(); b.detach()
print("parked")
"""
SEND_THROUGH_THE_DOOR = """
import array, os, socket, time
door = socket.socket(socket.AF_UNIX); door.connect("/run/insula/door.sock")
folder = os.open("/work", os.O_RDONLY)
door.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [folder] * 200))])
print("sent", flush=True)
"""


def test_a_workspace_parked_in_sockets_that_hold_each_other_is_freed(ground: Any, backend: Rung) -> None:
    assert ground.python(backend, PARK_IN_A_CYCLE).out == "parked\n"


def test_a_workspace_held_beyond_the_door_is_seen_and_said(
    ground: Any, backend: Rung, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt is not taken in: while a queue outside still holds the workspace, it says so."""
    monkeypatch.setattr(sandbox_module, "_FREED_WITHIN_S", 0.2)
    path = tmp_path / "door"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()

        async def open_door(uid: int) -> Path:
            os.chown(path, uid, uid)
            return path

        async def scene(hang_up: bool) -> Any:
            sandbox = await ground.launch(backend, ground.spec(SEND_THROUGH_THE_DOOR), open_door=open_door)
            assert [chunk.data async for chunk in sandbox.output] == [b"sent\n"]
            connection, _ = door.accept()  # and never read
            await sandbox.wait()
            if hang_up:
                connection.close()
            receipt = await sandbox.destroy()
            connection.close()
            return receipt

        held, let_go = ground.wait(scene(hang_up=False)), ground.wait(scene(hang_up=True))
    assert (held.workspace_freed, held.clean) == (False, False)
    assert let_go.clean


def test_pid_1_cannot_be_killed_from_inside_nor_anybody_outside(ground: Any, backend: Rung) -> None:
    code = """
import os, signal
if os.fork() == 0:
    os.kill(1, signal.SIGKILL)
    os.kill(-1, signal.SIGKILL)
    os._exit(0)
os.wait()
os.kill(1, signal.SIGSTOP)
print("lives as", os.getpid())
"""
    neighbour = ground.wait(ground.launch(backend, ground.spec("print('up', flush=True); input()")))
    assert ground.python(backend, code).out == "lives as 1\n"
    assert ground.wait(neighbour.destroy()).clean


def test_what_became_of_the_control_line_cannot_be_spoken_on(ground: Any, backend: Rung) -> None:
    """A program that could write an exit status of its own would be believed."""
    code = """
import os
for fd in range(3, 64):
    try: os.write(fd, b'{"exit-code": 0}')
    except OSError: continue
    print("wrote to", fd)
raise SystemExit(7)
"""
    ended = ground.python(backend, code)
    assert (ended.out, ended.exit.code, ended.exit.reason) == ("", 7, "exited")


def test_errors_of_the_birth_cannot_be_faked_by_output(ground: Any, backend: Rung) -> None:
    code = """import sys; print('{"error": "x"}'); print('{"exit-code": 0}', file=sys.stderr); sys.exit(3)"""
    ended = ground.python(backend, code)
    assert (ended.exit.code, ended.exit.reason, ended.exit.problem) == (3, "exited", "")


def test_streams_can_be_opened_by_name_but_not_hurt(ground: Any, backend: Rung) -> None:
    code = """
import fcntl, os
open("/dev/stderr", "w").write("by name\\n")
fcntl.fcntl(1, 1031, 1 << 20)  # F_SETPIPE_SZ
os.set_blocking(1, False)
reader = os.open("/dev/stdout", os.O_RDONLY | os.O_NONBLOCK)
sent = 0
while sent < 300_000:
    try: sent += os.write(1, b"y" * min(4096, 300_000 - sent))
    except BlockingIOError: pass
"""
    ended = ground.python(backend, code)
    assert (ended.exit.code, ended.err, len(ended.out)) == (0, "by name\n", 300_000)


def test_neighbours_start_and_stop_while_others_do_their_worst(ground: Any, backend: Rung) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    flood = "import os\nwhile True: os.write(1, b'x' * 65536)"

    async def scene() -> list[Any]:
        worst = [await ground.launch(backend, ground.spec(code)) for code in (bomb, flood, bomb)]
        begun = time.monotonic()
        neighbours = [await ground.live(backend, "print('fine')") for _ in range(5)]
        assert time.monotonic() - begun < 15
        receipts = await asyncio.gather(*(one.destroy() for one in worst))
        return [*(one.out for one in neighbours), *(receipt.clean for receipt in receipts)]

    assert ground.wait(scene()) == ["fine\n"] * 5 + [True] * 3


def test_what_others_open_of_the_shared_runtime_cannot_be_watched(ground: Any, backend: Rung) -> None:
    code = """
import ctypes, fcntl, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.inotify_init1(0), os.strerror(ctypes.get_errno()))
folder = os.open("/usr/lib", os.O_RDONLY)
for command in (fcntl.F_NOTIFY, fcntl.F_SETLEASE):
    try: fcntl.fcntl(folder, command, 1)
    except OSError as error: print(error.strerror)
"""
    said = ground.python(backend, code).out.splitlines()
    assert said == ["-1 Function not implemented", *["Operation not permitted"] * 2]


def test_the_hosts_disk_cannot_be_made_to_flush(ground: Any, backend: Rung) -> None:
    code = """
import ctypes, os
host, own = os.open("/usr/bin/python3", os.O_RDONLY), open("/work/x", "wb")
own.write(b"kept"); own.flush(); os.fsync(own.fileno())
for _ in range(20_000): os.fsync(host); os.fdatasync(host); os.sync()
print(ctypes.CDLL(None).syncfs(host), open("/work/x", "rb").read())
"""
    before = _flushes()
    assert ground.python(backend, code).out == "0 b'kept'\n"
    assert _flushes() - before < 10_000  # others on this machine flush too


def test_the_hosts_disk_cannot_be_read_past_its_cache(ground: Any, backend: Rung) -> None:
    code = """
import ctypes, fcntl, os
libc = ctypes.CDLL(None, use_errno=True)
path = b"/usr/bin/python3"
def tried(call, *words):
    return os.strerror(ctypes.get_errno()) if call(*words) < 0 else "reached"
how = (ctypes.c_uint64 * 3)(os.O_DIRECT, 0, 0)
fd = os.open(path, os.O_RDONLY)
print(tried(libc.open, path, os.O_DIRECT))
print(tried(libc.openat, -100, path, os.O_DIRECT))
print(tried(libc.syscall, 437, -100, path, how, 24))
print(tried(libc.fcntl, fd, fcntl.F_SETFL, os.O_DIRECT))
print(tried(libc.fcntl, fd, ctypes.c_long(fcntl.F_SETFL + (1 << 32)), os.O_DIRECT))
print(tried(libc.syscall, 451, fd, how, how, 0))
os.set_blocking(fd, False); print(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK > 0)
"""
    said = ground.python(backend, code).out.splitlines()
    refused, absent = "Operation not permitted", "Function not implemented"
    assert said[:4] == [refused, refused, absent, refused]
    assert said[5:] == [refused, "True"]
    assert said[4] != "reached"


def _flushes() -> int:
    """Flush requests that the disks of the host were sent."""
    rows = [line.split() for line in Path("/proc/diskstats").read_text().splitlines()]
    return sum(int(row[18]) for row in rows if len(row) > 18)


SHARED_HOST = """
import asyncio, ctypes, importlib.util, os, sys
from pathlib import Path
from insula.sandbox import syscalls
syscalls.unshare(syscalls.CLONE_NEWNS)
syscalls.mount("none", "/", "", (1 << 20) | syscalls.MS_REC)  # shared, as systemd leaves a host
spec = importlib.util.spec_from_file_location("conftest_of_sandboxes", sys.argv[1])
conftest = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = conftest
spec.loader.exec_module(conftest)
from insula.tenancy import Rung
assert "shared:" in Path("/proc/self/mountinfo").read_text()
ground = conftest.Ground(Path(sys.argv[2]), Path(sys.argv[3]))
print(ground.python(Rung.named(sys.argv[4]), "print(open('/proc/self/mountinfo').read())").out)
ground.close()
"""


def test_mounts_of_a_sandbox_are_tied_to_none_of_the_host(ground: Any, backend: Rung, tmp_path: Path) -> None:
    conftest = str(Path(__file__).with_name("conftest.py"))
    words = [sys.executable, "-c", SHARED_HOST, conftest, str(tmp_path), str(ground.rootfs), str(backend)]
    seen = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert " /work " in seen
    for line in seen.splitlines():
        assert not {"master", "shared", "propagate_from"} & {word.split(":")[0] for word in line.split()}, (
            line
        )
