"""Agents that turn on their own door: neighbours do not notice, and the workspace is freed all the same."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root

DOOR = """
import array, os, socket, time
ends = []
def knock():
    ends.append(socket.socket(socket.AF_UNIX))
    ends[-1].connect("/run/insula/door.sock")
    return ends[-1]
"""
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n"
ATTACKS = {
    "descriptors": """
folder = array.array("i", [os.open("/work", os.O_RDONLY)] * 250)
for _ in range(100):
    try: knock().sendmsg([b"GET / HTTP/1.1\\r\\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, folder)])
    except OSError as error: print(error); break
""",
    "connections": """
try:
    for _ in range(900): knock()
except OSError as error: print(error)
time.sleep(1)
""",
    "halves": """
for _ in range(50):
    s = knock(); s.sendall(POST)
    s.shutdown(socket.SHUT_WR)
time.sleep(1)
""",
    "pipeline": """
s = knock(); s.setblocking(False)
try:
    for _ in range(100000): s.sendall(b"GET /v1/models HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n" * 100)
except OSError as error: print(error)
time.sleep(1)
""",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_door_survives_its_agent(platform: Any, tmp_path: Path, write_agent: Any, name: str) -> None:
    code = f"{DOOR}POST = {POST!r}\n{ATTACKS[name]}\nprint('tried', len(ends))"
    platform.ok("agent", "deploy", "acme", str(write_agent(tmp_path / name, code)))
    platform.ok("agent", "deploy", "bolt", str(write_agent(tmp_path / "near", "print('fine')")))
    seen: list[Any] = []
    attack = threading.Thread(target=lambda: seen.append(platform.ok("run", f"acme/{name}")))
    attack.start()
    neighbour = platform.ok("run", "bolt/near")
    attack.join()
    assert neighbour["output"] == "fine\n"
    run = platform.ok("run", "show", seen[0]["run"])
    assert "tried" in run["output"]
    assert run["workspace_destroyed"], run
