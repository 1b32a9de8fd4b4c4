"""Agents that misbehave are stopped at their limit, reported as such, and leave nothing."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.root

HOSTILE = {
    "crash": ("import os; os.abort()", "failed", ("signal", "killed", "abort")),
    "memory": ("x = []\nwhile True: x.append(bytearray(10 << 20))", "failed", ("memory",)),
    "flood": (
        "import sys\nwhile True: sys.stdout.write('x' * 65536)",
        "failed",
        ("output",),
    ),
    "endless": (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)",
        "timed_out",
        ("time",),
    ),
    "disk": (
        "f = open('/work/fill', 'wb')\nwhile True: f.write(b'x' * (1 << 20))",
        "failed",
        ("exit", "memory", "space"),
    ),
    "inodes": (
        "i = 0\nwhile True:\n    open(f'/work/{i}', 'w').close(); i += 1",
        "failed",
        ("exit", "memory", "space"),
    ),
    "forks": (
        "import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(60)\n"
        "        n += 1\nexcept OSError as error: print(n, error.strerror)\nraise SystemExit(3)",
        "failed",
        ("exit",),
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_stopped_and_reported(platform: Any, tmp_path: Path, write_agent: Any, name: str) -> None:
    script, state, reasons = HOSTILE[name]
    limits = "timeout_s = 4\nmemory_mib = 128\npids = 40"
    platform.ok("agent", "deploy", "acme", str(write_agent(tmp_path / name, script, limits=limits)))
    begun = time.monotonic()
    done = platform.run("run", f"acme/{name}", "--json")
    run = done.json
    assert run["state"] == state, run
    assert any(word in run["reason"].lower() for word in reasons), run["reason"]
    assert time.monotonic() - begun < 20
    assert done.code == 1


def test_neighbours_are_not_held_up(platform: Any, tmp_path: Path, write_agent: Any) -> None:
    spin = write_agent(tmp_path / "spin", "while True: pass", limits="timeout_s = 5")
    hello = write_agent(tmp_path / "hi", "print('hi')")
    platform.ok("agent", "deploy", "acme", str(spin))
    platform.ok("agent", "deploy", "bolt", str(hello))
    spinners = [threading.Thread(target=platform.run, args=("run", "acme/spin", "--json")) for _ in range(2)]
    for one in spinners:
        one.start()
    time.sleep(1)
    run = platform.ok("run", "bolt/hi")
    assert run["output"] == "hi\n"
    for one in spinners:
        one.join()


def test_nothing_is_left_behind(platform: Any, tmp_path: Path, write_agent: Any) -> None:
    leaver = write_agent(
        tmp_path / "leaver",
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(600)\n",
    )
    platform.ok("agent", "deploy", "acme", str(leaver))
    platform.ok("run", "acme/leaver")
    before = _traces(platform)
    for _ in range(5):
        platform.ok("run", "acme/leaver")
    assert _traces(platform) == before


def _traces(platform: Any) -> dict[str, int]:
    """Count what a sandbox could leave: processes, descriptors, mounts, sockets, cgroups."""
    process = psutil.Process(platform.process.pid)
    family = [process, *process.children(recursive=True)]
    groups = [
        folder
        for root, folders, _ in os.walk("/sys/fs/cgroup")
        for folder in folders
        if "run_" in folder and root
    ]
    return {
        "processes": len(family),
        "descriptors": len(os.listdir(f"/proc/{process.pid}/fd")),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "doors": len(list(platform.home.rglob("*.sock"))),
        "cgroups": len(groups),
    }
