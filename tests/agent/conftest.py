"""A door to talk to, and pid 1 as a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import insula
from insula.runtimes import compile_pid1

SOURCE = Path(insula.__file__).parent / "agent"


class Door:
    """A Unix socket whose every connection is handled by ``behaviour`` in a thread."""

    def __init__(self, path: Path, behaviour: Callable[[socket.socket], None]) -> None:
        self.path = path
        self._behaviour = behaviour
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._behaviour(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def door_at(tmp_path: Path) -> Iterator[Callable[[Callable[[socket.socket], None]], Door]]:
    """Opens a door with a behaviour; closed after the test."""
    opened: list[Door] = []

    def open_door(behaviour: Callable[[socket.socket], None]) -> Door:
        opened.append(Door(tmp_path / "door.sock", behaviour))
        return opened[-1]

    yield open_door
    for door in opened:
        door.close()


def compiled(tmp_path: Path) -> tuple[str, ...]:
    return (sys.executable, str(compile_pid1(tmp_path / "pid1") / "__main__.pyc"), "--")


@pytest.fixture(params=["source", "compiled"])
def pid1(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    """The command that starts pid 1, from its source and as sandboxes get it."""
    if request.param == "source":
        return (sys.executable, str(SOURCE), "--")
    return compiled(tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a program below pid 1, in a free port's stead of 8700, in ``tmp_path``."""
    started: list[subprocess.Popen[bytes]] = []
    pid1 = compiled(tmp_path)

    def start(*program: str, **environment: str) -> subprocess.Popen[bytes]:
        inside = {**os.environ, "INSULA_PORT": "0", "INSULA_DOOR": str(tmp_path / "door.sock"), **environment}
        process = subprocess.Popen(
            [*pid1, *program],
            cwd=tmp_path,
            env=inside,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
