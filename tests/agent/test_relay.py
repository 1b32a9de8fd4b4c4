"""Bytes between 127.0.0.1 and the door: all of them, in order, with half-close, bounded in memory."""

import hashlib
import http.client
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HOLD = "import os, time\nprint(os.environ['INSULA_PORT'], flush=True)\ntime.sleep(600)"


@pytest.fixture
def relay(start, tmp_path: Path) -> Callable[[], tuple[int, subprocess.Popen[bytes]]]:  # type: ignore[no-untyped-def]
    """Starts pid 1 with a program that only waits; returns the port and the process."""

    def begin() -> tuple[int, subprocess.Popen[bytes]]:
        (tmp_path / "hold.py").write_text(HOLD)
        process = start("python", "hold.py")
        return int(process.stdout.readline()), process

    return begin


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def echo(connection: socket.socket) -> None:
    while part := connection.recv(65536):
        connection.sendall(part)


def answer_after_eof(connection: socket.socket) -> None:
    connection.sendall(hashlib.sha256(read_all(connection)).digest())


def memory_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_large_streams_both_ways_at_once(relay, door_at) -> None:  # type: ignore[no-untyped-def]
    door_at(echo)
    port, _ = relay()
    sent = os.urandom(1 << 20) * 24
    with connect(port) as connection:
        writer = threading.Thread(
            target=lambda: (connection.sendall(sent), connection.shutdown(socket.SHUT_WR))
        )
        writer.start()
        assert hashlib.sha256(read_all(connection)).digest() == hashlib.sha256(sent).digest()
        writer.join()


def test_half_close_still_gets_the_answer(relay, door_at) -> None:  # type: ignore[no-untyped-def]
    door_at(answer_after_eof)
    port, _ = relay()
    with connect(port) as connection:
        connection.sendall(b"question")
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == hashlib.sha256(b"question").digest()


def test_the_door_may_close_its_side_first(relay, door_at) -> None:  # type: ignore[no-untyped-def]
    got: list[bytes] = []

    def speak_then_listen(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        got.append(read_all(connection))

    door_at(speak_then_listen)
    port, _ = relay()
    with connect(port) as connection:
        assert read_all(connection) == b"hello"
        connection.sendall(b"still here")
    until(lambda: got == [b"still here"])


def test_a_caller_who_leaves_is_noticed_at_the_door(relay, door_at) -> None:  # type: ignore[no-untyped-def]
    left = threading.Event()

    def stream(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"data: x\n\n")
                time.sleep(0.005)
        except OSError:
            left.set()

    door_at(stream)
    port, _ = relay()
    connection = connect(port)
    connection.recv(100)
    connection.close()
    assert left.wait(5)


def test_a_slow_reader_bounds_memory_and_loses_nothing(relay, door_at) -> None:  # type: ignore[no-untyped-def]
    total = 96 << 20
    pushed = [0]

    def flood(connection: socket.socket) -> None:
        block = bytes(1 << 16)
        for _ in range(total // len(block)):
            connection.sendall(block)
            pushed[0] += len(block)

    door_at(flood)
    port, process = relay()
    before = memory_kib(process.pid)
    with connect(port) as connection:
        connection.recv(1)
        time.sleep(0.5)
        assert pushed[0] < total // 2  # the writer is held back
        assert memory_kib(process.pid) - before < 4096
        assert 1 + len(read_all(connection)) == total


def test_idle_and_half_closed_connections_cost_no_time(relay, door_at) -> None:  # type: ignore[no-untyped-def]
    """A hang-up that nobody can act on must not spin the loop."""
    gone = threading.Event()

    def full_then_gone(connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            while True:
                connection.send(bytes(65536))
        except BlockingIOError:
            time.sleep(0.2)
            gone.set()

    door_at(full_then_gone)
    port, process = relay()
    stuck = [connect(port) for _ in range(8)]
    for connection in stuck[:4]:
        connection.shutdown(socket.SHUT_WR)
    assert gone.wait(10)
    time.sleep(0.3)
    before = spent_ticks(process.pid)
    time.sleep(0.5)
    assert spent_ticks(process.pid) - before <= 5  # of 50
    for connection in stuck:
        assert len(read_all(connection)) > 65536
        connection.close()


def test_many_connections_at_once(relay, door_at) -> None:  # type: ignore[no-untyped-def]
    door_at(echo)
    port, process = relay()
    connections = [connect(port) for _ in range(300)]  # more than are served at once: the rest wait
    for number, connection in enumerate(connections):
        connection.sendall(b"%d" % number)
    for number, connection in enumerate(connections):
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"%d" % number
        connection.close()
    until(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) < 16)


def test_resets_do_not_hurt_others(relay, door_at) -> None:  # type: ignore[no-untyped-def]
    door_at(echo)
    port, process = relay()
    with connect(port) as steady:
        for _ in range(100):
            rude = connect(port)
            rude.sendall(b"x" * 1000)
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            rude.close()
        steady.sendall(b"fine")
        assert steady.recv(10) == b"fine"
    until(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) < 16)


def test_no_door_says_so(relay) -> None:  # type: ignore[no-untyped-def]
    port, _ = relay()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    client.request("GET", "/v1/models")
    reply = client.getresponse()
    assert reply.status == 503
    assert json.load(reply)["error"]["code"] == "door_closed"


def test_a_door_with_a_full_queue_is_waited_for(relay, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "door.sock"))
    listener.listen(0)
    port, _ = relay()
    connections = [connect(port) for _ in range(6)]
    time.sleep(0.1)
    for _ in connections:
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"served")
    assert [read_all(connection) for connection in connections] == [b"served"] * 6
    for connection in connections:
        connection.close()
    listener.close()


def test_a_taken_port_is_replaced_in_the_environment(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "show.py").write_text(
        "import os; print(os.environ['INSULA_PORT'], os.environ['OPENAI_BASE_URL'])"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start("python", "show.py", INSULA_PORT=port, OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1")
        chosen, url = process.communicate(timeout=30)[0].decode().split()
    assert chosen != port
    assert url == f"http://127.0.0.1:{chosen}/v1"


def spent_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)
