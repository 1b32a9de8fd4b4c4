"""A real platform in its own process, driven as a script would drive it: through the command line."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

INSULA = str(Path(sys.executable).with_name("insula"))
ROOT = Path(__file__).parents[2]


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Running:
    """A platform with its home, and the commands that find it."""

    def __init__(self, home: Path, trust: str = "internal", **settings: str) -> None:
        self.home = home
        self.trust = trust
        self.settings = {f"INSULA_{name.upper()}": value for name, value in settings.items()}
        self.start()

    def start(self) -> None:
        self.log = (self.home.parent / f"{self.home.name}.log").open("ab")
        self.process = subprocess.Popen(
            [INSULA, "up", "--port", "0", "--gateway-port", "0", "--trust", self.trust, "--json"],
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=self.environment,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.home.parent / f"{self.home.name}.log").read_text()[-2000:]
        self.ready = json.loads(line)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.settings, "INSULA_HOME": str(self.home), "NO_COLOR": "1"}

    def kill(self) -> None:
        """`kill -9` of the platform."""
        self.process.kill()
        self._reaped(30)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self._reaped(60)

    def _reaped(self, timeout_s: float) -> int:
        code = self.process.wait(timeout_s)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()
        return code

    def run(self, *words: str, stdin: str = "", timeout_s: float = 90) -> Done:
        done = subprocess.run(
            [INSULA, *words],
            input=stdin.encode(),
            capture_output=True,
            env=self.environment,
            timeout=timeout_s,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *words: str, stdin: str = "") -> Any:
        """Run a command with ``--json`` that must succeed; return what it printed."""
        done = self.run(*words, "--json", stdin=stdin)
        assert done.code == 0, f"{words}: exit {done.code}\n{done.out}\n{done.err}"
        return done.json if done.out.strip() else None


def agent(folder: Path, script: str, **manifest: str) -> Path:
    """Write an agent's directory: ``main.py`` and ``agent.toml`` with ``manifest`` lines on top."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = {"name": f'"{folder.name}"', "entrypoint": '"python main.py"', "runtime": '"python"', **manifest}
    limits = lines.pop("limits", "")
    text = "".join(f"{name} = {value}\n" for name, value in lines.items())
    (folder / "agent.toml").write_text(text + (f"\n[limits]\n{limits}\n" if limits else ""))
    (folder / "main.py").write_text(script)
    return folder


@pytest.fixture(scope="session")
def write_agent() -> Any:
    return agent


@pytest.fixture(scope="session")
def running_class() -> Any:
    return Running


@pytest.fixture(scope="session")
def upstream() -> Iterator[Any]:
    server = _load("upstream").Upstream()
    yield server
    server.close()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, upstream: Any) -> Iterator[Running]:
    """Two tenants, acme (pro) and bolt (free), entitled to model m1 at the upstream."""
    running = Running(tmp_path_factory.mktemp("home") / "insula")
    running.ok("endpoint", "add", "up", "--kind", "openai", "--base-url", upstream.base_url, "--model", "m1")
    for tenant, tier in (("acme", "pro"), ("bolt", "free")):
        running.ok("tenant", "create", tenant, "--tier", tier)
        running.ok("entitle", tenant, "m1")
    yield running
    assert running.stop() == 0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start further platforms; what still runs at the end is stopped."""
    started: list[Running] = []

    def begin(**options: Any) -> Running:
        running = Running(tmp_path / f"home{len(started)}", **options)
        started.append(running)
        return running

    yield begin
    for running in started:
        if running.process.poll() is None:
            running.stop()
