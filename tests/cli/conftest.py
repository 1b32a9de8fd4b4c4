"""A real platform, run by the real program, and the program to talk to it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = 'name = "echo"\nentrypoint = "python main.py"\n'
ECHO = """import json, sys
text = sys.stdin.read()
print("hello", text)
print("a word aside", file=sys.stderr)
sys.exit(3 if "fail" in text else 0)
"""


@dataclass(frozen=True)
class Program:
    """Runs ``insula`` against one home."""

    home: Path

    def __call__(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("INSULA_")}
        return subprocess.run(
            [sys.executable, "-m", "insula.cli.main", "--home", str(self.home), *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            env=environment,
        )

    def data(self, *words: str, code: int = 0, stdin: str = "") -> Any:
        """Return the JSON that a command prints, after checking how it ended."""
        done = self(*words, "--json", stdin=stdin)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)


def start(home: Path, *flags: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Start a platform in ``home``; return its process and the line it prints when it is ready."""
    command = [sys.executable, "-m", "insula.cli.main", "up", "--json", "--home", str(home)]
    ports = ["--port", "0", "--gateway-port", "0"]
    with (home.parent / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, *ports, "--trust", "internal", *flags], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (home.parent / "log").read_text()
    return process, json.loads(line)


def stop(process: subprocess.Popen[str]) -> int:
    """End a platform as a service manager would; return its exit code."""
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    process.stdout.close()
    return process.wait(60)


@dataclass(frozen=True)
class Running:
    """A platform and what it said when it was ready."""

    insula: Program
    said: dict[str, Any]


@pytest.fixture(scope="session")
def up() -> Callable[..., tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Return how to start a platform."""
    return start


@pytest.fixture(scope="session")
def down() -> Callable[[subprocess.Popen[str]], int]:
    """Return how to stop one."""
    return stop


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("cli") / "home"
    process, said = start(home)
    yield Running(Program(home), said)
    assert stop(process) == 0


@pytest.fixture(scope="session")
def agent_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("agent")
    (where / "agent.toml").write_text(EXAMPLE)
    (where / "main.py").write_text(ECHO)
    return where
