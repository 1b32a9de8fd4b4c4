"""What a program inside really sees and reaches, on each backend; and that the probe can see a hole."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from insula.tenancy import Rung

_spec = importlib.util.spec_from_file_location("sandbox_probes", Path(__file__).with_name("probes.py"))
assert _spec is not None
assert _spec.loader is not None
_probes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_probes)

HARMLESS = {"EPERM", "ENOSYS", "ENOSPC"}
"""Errors that mean a call never reached what it asks for. EFAULT and EINVAL would mean that it did."""
_SEEN: dict[Rung, dict[str, Any]] = {}


class File:
    path, mode, data = "main.py", 0o644, b"print('hello')"


@pytest.fixture(scope="module")
def listener() -> Iterator[int]:
    """A listener on the host's loopback and one in its abstract namespace: neither may hear anything."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as canary:
        canary.bind("\0insula-canary")
        canary.listen()
        server.setblocking(False)
        canary.setblocking(False)
        yield server.getsockname()[1]
        for one in (server, canary):
            with pytest.raises(BlockingIOError):
                one.accept()


@pytest.fixture
def seen(ground: Any, backend: Rung, listener: int) -> dict[str, Any]:
    """What the probe saw on this backend; run once."""
    if backend not in _SEEN:
        code = _probes.INSIDE.replace("HOST", _address_of_host()).replace("PORT", str(listener))
        ended = ground.python(backend, code, files=(File(),), command=("/usr/bin/python3", "-c", code))
        assert ended.exit.code == 0, ended.err
        _SEEN[backend] = {**json.loads(ended.out), "host_uid": ended.uid, "run": ended}
    return _SEEN[backend]


def _address_of_host() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))
            return str(one.getsockname()[0])
        except OSError:
            return "10.0.0.1"


def test_holds_no_capability_and_can_gain_none(seen: dict[str, Any]) -> None:
    status = seen["status"]
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert seen["groups"] == []
    assert seen["setuid"] == []


def test_is_nobody_on_the_host(seen: dict[str, Any], backend: Rung) -> None:
    uids = {int(word) for word in seen["status"]["Uid"].split()}
    if backend is Rung.BUBBLEWRAP:
        assert uids == {65534}
        assert seen["uid_map"] == ["65534", "65534", "1"]  # one user of the outer of two nested maps
    else:
        assert uids == {seen["host_uid"]}
    assert 0 not in uids


def test_is_alone_in_its_process_table(seen: dict[str, Any]) -> None:
    assert seen["pid"] == 1
    assert seen["sid"] == 1 or seen["sid"] == 0
    assert seen["pids"] == [1]


def test_inherits_its_three_streams_and_no_other_descriptor(seen: dict[str, Any]) -> None:
    assert seen["fds"] == [0, 1, 2]


def test_no_forbidden_call_is_reached(seen: dict[str, Any]) -> None:
    assert {name: answer for name, answer in seen["calls"].items() if answer not in HARMLESS} == {}
    assert seen["calls"]["clone3"] == "ENOSYS"


def test_the_hosts_knobs_cannot_be_opened_for_writing(seen: dict[str, Any]) -> None:
    assert set(seen["write"].values()) <= {"EACCES", "EROFS", "ENOENT", "EPERM", "ETXTBSY"}, seen["write"]
    assert seen["write"]["/proc/sys/kernel/core_pattern"] in {"EACCES", "EROFS"}


def test_only_the_workspace_takes_files(seen: dict[str, Any]) -> None:
    writable = {path for path, answer in seen["create"].items() if answer == "reached"}
    assert writable == {"/work", "/tmp", "/dev/shm"}
    assert {seen["create"][path] for path in ("/", "/etc", "/usr", "/dev", "/agent")} == {"EROFS"}


def test_proc_tells_nothing_of_the_host(seen: dict[str, Any]) -> None:
    assert set(seen["hidden"].values()) <= {"", "EACCES", "EPERM"}, seen["hidden"]
    assert seen["hostname"] == "sandbox"
    assert {line.split(":", 2)[2] for line in seen["cgroup"].split()} == {"/"}


def test_there_is_no_way_out_but_loopback(seen: dict[str, Any]) -> None:
    assert seen["interfaces"] == ["lo"]
    reached = {name for name, answer in seen["connect"].items() if answer == "reached"}
    assert reached == {"itself"}
    assert seen["connect"]["anywhere"] == "ENETUNREACH"
    assert seen["connect"]["abstract"] == "ECONNREFUSED"
    assert "reached" not in seen["families"].values()
    assert seen["sockets"] == []


def test_devices_are_the_harmless_ones(seen: dict[str, Any]) -> None:
    devices = {"full", "null", "random", "tty", "urandom", "zero"}
    assert set(seen["devices"]) == devices | {"fd", "shm", "stderr", "stdin", "stdout"}
    assert seen["tty"] == "ENXIO"
    assert seen["mknod"] == "EPERM"


def test_limits_cannot_be_raised(seen: dict[str, Any]) -> None:
    assert seen["limits"] == {"core": [1, 1], "files": [1024, 4096], "rtprio": [0, 0]}
    assert seen["raise_limit"] != "reached"


def test_environment_is_exactly_what_was_given(seen: dict[str, Any]) -> None:
    extra = {"PWD"} if "PWD" in seen["environment"] else set()
    assert set(seen["environment"]) == {"PATH", "HOME", "LANG"} | extra
    assert not any(name.startswith("INSULA") for name in seen["environment"])


def test_every_mount_is_nosuid_and_those_of_the_host_are_read_only(seen: dict[str, Any]) -> None:
    for line in seen["mounts"].splitlines():
        point, options = line.split()[4], set(line.split()[5].split(","))
        assert "nosuid" in options, line
        writable = {"/work", "/tmp", "/dev/shm", "/proc"}
        assert point in writable or "ro" in options, line


def test_the_probe_sees_holes_where_there_is_no_wall(ground: Any, listener: int) -> None:
    """Negative control: the same probe on the rung without walls must report them."""
    code = _probes.INSIDE.replace("HOST", "127.0.0.1").replace("PORT", "1")
    ended = ground.python(Rung.NONE, code, files=(File(),))
    assert ended.exit.code == 0, ended.err
    seen = json.loads(ended.out)
    assert seen["status"]["Seccomp"].strip() == "0"
    assert len(seen["pids"]) > 1
    assert len(seen["interfaces"]) >= 1
    assert seen["connect"]["abstract"] != "ENETUNREACH"
    through = {name for name, answer in seen["calls"].items() if answer not in HARMLESS}
    assert {"io_uring_setup", "add_key", "shmget", "userfaultfd"} & through
    assert {"vsock", "netlink", "alg"} & {n for n, a in seen["families"].items() if a == "reached"}


def test_a_key_of_one_run_is_unknown_to_the_next(ground: Any, backend: Rung) -> None:
    before = re.findall(r"^\s*(\d+):", Path("/proc/key-users").read_text(), re.MULTILINE)
    ended = ground.python(
        backend,
        "import ctypes; print(ctypes.CDLL(None).syscall(248, b'user', b'canary', b'secret', 6, -4))",
    )
    assert ended.out.strip() == "-1"
    after = re.findall(r"^\s*(\d+):", Path("/proc/key-users").read_text(), re.MULTILINE)
    assert str(ended.uid) not in set(after) - set(before)


def test_nothing_of_one_run_is_there_for_the_next(ground: Any, backend: Rung) -> None:
    canary = os.urandom(16).hex()
    plant = f"""
import os
for place in ('/work', '/tmp', '/dev/shm', '/work/.cache'):
    os.makedirs(place, exist_ok=True)
    open(place + '/{canary}', 'w').write('{canary}' * 1000)
"""
    look = f"""
import os
found = [os.path.join(w, n) for w, ds, ns in os.walk('/') if not w.startswith('/proc')
         for n in ns + ds if '{canary}' in n]
block = open('/work/block', 'w+b'); block.truncate(1 << 20)
print(found, set(block.read()))
"""
    ground.python(backend, plant)
    assert ground.python(backend, look).out.strip() == "[] {0}"
