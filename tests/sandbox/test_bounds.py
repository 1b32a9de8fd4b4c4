"""Programs that take all they can get: each is stopped at its limit, reported as that, and leaves nothing."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from insula.sandbox.uids import carried_uids
from insula.tenancy import Rung

MIB = 1 << 20


def test_a_fork_bomb_stops_at_the_limit(ground: Any, backend: Rung, bounds: Any) -> None:
    code = """
import os, time
made = 0
try:
    while True:
        if os.fork() == 0: time.sleep(60)
        made += 1
except OSError as problem:
    print(made, problem.errno)
"""
    ended = ground.python(backend, code)
    made, number = map(int, ended.out.split())
    assert made == bounds.pids - 1
    assert number == 11


def test_a_bomb_that_never_stops_forking_is_stopped(ground: Any, backend: Rung, bounds: Any) -> None:
    code = """
import os, signal
for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)
print('go', flush=True)
while True:
    try:
        if os.fork() == 0: os.setsid()
    except OSError: pass
"""

    async def run() -> Any:
        sandbox = await ground.launch(backend, ground.spec(code))
        await anext(aiter(sandbox.output))
        await asyncio.sleep(0.2)
        begun = time.monotonic()
        receipt = await sandbox.destroy()
        return receipt, time.monotonic() - begun

    receipt, took = ground.wait(run())
    assert receipt.clean
    assert took < 5


def test_daemons_do_not_outlive_their_sandbox(ground: Any, backend: Rung) -> None:
    code = """
import os, time
for _ in range(10):
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        os.close(0); os.close(1); os.close(2)
        time.sleep(600)
time.sleep(0.05)
"""
    ended = ground.python(backend, code)
    assert ended.exit.code == 0
    assert ended.uid not in carried_uids()


def test_survivors_are_killed_even_without_a_process_namespace(ground: Any) -> None:
    """Control: where the kernel does not do it, the spawner does."""
    code = """
import os, signal, time
for _ in range(8):
    if os.fork() == 0:
        os.setsid(); signal.signal(15, signal.SIG_IGN)
        os.close(0); os.close(1); os.close(2)
        while True:
            try:
                if os.fork(): os._exit(0)
            except OSError: pass
            time.sleep(0.001)
"""
    ended = ground.python(Rung.NONE, code)
    assert ended.uid not in carried_uids()


def test_too_much_memory_is_reported_as_that(ground: Any, backend: Rung, bounds: Any) -> None:
    ended = ground.python(backend, "x = bytearray(300 << 20)")
    assert ended.exit.reason == "oom"
    assert ended.exit.code is None
    assert ended.exit.memory_peak <= (bounds.memory_mib + bounds.workspace_mib) * MIB


def test_a_child_that_dies_of_memory_counts_when_it_takes_the_program_along(
    ground: Any, backend: Rung
) -> None:
    code = """
import os
pid = os.fork()
if pid == 0: x = bytearray(300 << 20); os._exit(0)
os._exit(128 + os.WTERMSIG(os.waitpid(pid, 0)[1]))
"""
    assert ground.python(backend, code).exit.reason == "oom"
    survived = code.replace("os._exit(128 + os.WTERMSIG(os.waitpid(pid, 0)[1]))", "os.waitpid(pid, 0)")
    assert ground.python(backend, survived).exit.reason == "exited"


def test_a_full_workspace_is_an_error_inside_and_costs_the_host_no_more(
    ground: Any, backend: Rung, bounds: Any
) -> None:
    code = """
import os
total = 0
for place in ('/work', '/tmp', '/dev/shm'):
    try:
        with open(place + '/fill', 'wb', buffering=0) as f:
            while True: total += f.write(b'x' * 65536)
    except OSError as problem: print(problem.errno)
print(total, flush=True)
open('/dev/null', 'w').write('still alive')
"""
    ended = ground.python(backend, code)
    *errors, total = map(int, ended.out.split())
    assert errors == [28, 28, 28]
    assert 0.9 * bounds.workspace_mib * MIB <= total <= bounds.workspace_mib * MIB
    assert ended.exit.reason == "exited"


def test_files_without_number_run_out(ground: Any, backend: Rung, bounds: Any) -> None:
    code = """
import os
made = 0
try:
    while True:
        os.close(os.open(f'/work/{made}', os.O_CREAT | os.O_WRONLY)); made += 1
except OSError as problem: print(problem.errno)
try: os.mkdir('/tmp/more')
except OSError as problem: print(problem.errno)
print(made)
"""
    first, second, made = map(int, ground.python(backend, code).out.split())
    assert (first, second) == (28, 28)
    assert bounds.workspace_inodes - 10 <= made <= bounds.workspace_inodes + 10


SOCKETS = {
    "tcp": """
import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
door, held, queued = socket.create_server(("127.0.0.1", 0), backlog=100), [], 0
for _ in range(600):
    ends = socket.create_connection(door.getsockname()), door.accept()[0]
    held += ends
    ends[0].setblocking(False)
    try:
        while True: queued += ends[0].send(bytes(1 << 20))
    except BlockingIOError: pass
print(queued >> 20, flush=True)
time.sleep(60)
""",
    "udp": """
import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
out, held, queued = socket.socket(type=socket.SOCK_DGRAM), [], 0
for _ in range(1500):
    held.append(socket.socket(type=socket.SOCK_DGRAM))
    held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    held[-1].bind(("127.0.0.1", 0))
    for _ in range(12): queued += out.sendto(bytes(30_000), held[-1].getsockname())
print(queued >> 20, flush=True)
time.sleep(60)
""",
}


@pytest.mark.parametrize("kind", SOCKETS)
def test_buffers_of_sockets_are_bounded_too(ground: Any, backend: Rung, kind: str) -> None:
    """Else one workload takes gigabytes beside its memory limit, and from all others the memory TCP has."""

    async def scene() -> int:
        before = _socket_pages()
        sandbox = await ground.launch(backend, ground.spec(SOCKETS[kind]))
        said = await anext(sandbox.output)
        taken = _socket_pages() - before
        await sandbox.destroy()
        assert said.stream == "stdout", said
        return taken * 4096

    assert ground.wait(scene()) < 250 * MIB


def _socket_pages() -> int:
    """Pages that buffers of internet sockets take on this host, in all network namespaces."""
    words = Path("/proc/net/sockstat").read_text().split()
    return sum(int(words[at + 1]) for at, word in enumerate(words) if word == "mem")


def test_a_flood_of_output_is_cut_at_its_limit(ground: Any, backend: Rung, bounds: Any) -> None:
    code = "import os\nwhile True: os.write(1, b'y' * 65536); os.write(2, b'n' * 4096)"
    ended = ground.python(backend, code)
    assert ended.exit.reason == "output_limit"
    assert len(ended.out) + len(ended.err) == bounds.output_bytes


def test_output_up_to_the_limit_passes_whole(ground: Any, backend: Rung, bounds: Any) -> None:
    ended = ground.python(
        backend, f"import os\nfor _ in range({bounds.output_bytes // 4096}): os.write(1, b'y' * 4096)"
    )
    assert ended.exit.reason == "exited"
    assert len(ended.out) == bounds.output_bytes


def test_output_that_nobody_reads_does_not_grow(ground: Any, backend: Rung) -> None:
    async def run() -> Any:
        sandbox = await ground.launch(
            backend, ground.spec("import os\nwhile True: os.write(1, b'y' * 65536)")
        )
        await asyncio.sleep(0.4)
        return await sandbox.destroy()

    assert ground.wait(run()).clean


def test_time_runs_out(ground: Any, backend: Rung, bounds: Any) -> None:
    begun = time.monotonic()
    ended = ground.python(backend, "import time; time.sleep(60)", replace(bounds, wall_s=1))
    assert ended.exit.reason == "timed_out"
    assert (ended.exit.code, ended.exit.signal) == (None, 9)
    assert 1 <= time.monotonic() - begun < 6


def test_the_processor_is_shared_out(ground: Any, backend: Rung, bounds: Any) -> None:
    code = """
import time
end = time.monotonic() + 1
while time.monotonic() < end: pass
print(time.process_time())
"""
    ended = ground.python(backend, code, replace(bounds, cpu_fraction=0.25))
    assert float(ended.out) < 0.5
    assert 0.05 < ended.exit.cpu_s < 0.6


def test_the_filter_is_not_slow_and_programs_still_work(ground: Any, backend: Rung) -> None:
    """What ordinary programs need: threads, subprocesses, sockets, sqlite, temporary files, an event loop."""
    code = """
import asyncio, concurrent.futures, json, multiprocessing, os, socket, sqlite3, subprocess, sys, tempfile
found = {}
with concurrent.futures.ThreadPoolExecutor(4) as pool: found['threads'] = sum(pool.map(len, ['ab'] * 8))
child = subprocess.run([sys.executable, '-c', 'print(6)'], capture_output=True, text=True)
found['child'] = child.stdout.strip()
with tempfile.TemporaryFile() as f: f.write(b'x'); found['temporary'] = f.tell()
db = sqlite3.connect('/work/a.db'); db.execute('pragma journal_mode=wal'); db.execute('create table t (a)')
db.execute('insert into t values (1)'); db.commit(); found['rows'] = db.execute('select * from t').fetchall()
async def main():
    server = await asyncio.start_server(lambda r, w: (w.write(b'hi'), w.close()), '127.0.0.1', 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    child = await asyncio.create_subprocess_exec('/usr/bin/python3', '-c', '')
    return (await reader.read()).decode(), await child.wait()
found['loop'] = asyncio.run(main())
with multiprocessing.get_context('fork').Pool(2) as pool: found['pool'] = pool.map(abs, [-1, -2])
found['resolve'] = socket.getaddrinfo('localhost', 80)[0][4][0]
os.mkfifo('/work/fifo'); found['random'] = len(os.urandom(8))
print(json.dumps(found))
"""
    ended = ground.python(backend, code, command=("/usr/bin/python3", "-c", code))
    assert ended.exit.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["threads"] == 16
    assert found["child"] == "6"
    assert found["rows"] == [[1]]
    assert found["loop"] == ["hi", 0]
    assert found["pool"] == [1, 2]
    assert found["resolve"] in ("127.0.0.1", "::1")


def test_memory_of_the_workspace_comes_back(ground: Any, backend: Rung) -> None:
    def shared_kib() -> int:
        return int(Path("/proc/meminfo").read_text().split("Shmem:")[1].split()[0])

    before = shared_kib()
    for _ in range(4):
        code = """
import os
f = open('/work/held', 'wb'); f.write(b'x' * (12 << 20)); f.flush(); os.unlink('/work/held')
"""
        ground.python(backend, code)
    deadline = time.monotonic() + 5
    while shared_kib() - before > 16 * 1024 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert shared_kib() - before < 16 * 1024
