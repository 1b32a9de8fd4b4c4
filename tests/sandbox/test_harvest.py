"""What an agent leaves is read without following it anywhere, within bounds, whatever it is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from insula.sandbox import Harvest, HarvestLimits
from insula.sandbox.harvest import harvest

HOST_SECRET = b"host secret " * 10


class Work:
    """A workspace's ``/work`` on an ordinary disk, beside a file of the host's."""

    def __init__(self, root: Path) -> None:
        self.secret = root / "secret"
        self.secret.write_bytes(HOST_SECRET)
        self.path = root / "work"
        self.kept = self.path / "artifacts"
        self.kept.mkdir(parents=True)
        self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)

    def reap(self, **limits: float) -> Harvest:
        return harvest(self.fd, HarvestLimits(**limits))  # type: ignore[arg-type]


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    made = Work(tmp_path)
    yield made
    os.close(made.fd)


def names(found: Harvest) -> dict[str, bytes]:
    return {artifact.name: artifact.data for artifact in found.artifacts}


def reasons(found: Harvest) -> dict[str, str]:
    return {name.rpartition("/")[2]: why for name, why in found.skipped}


def test_plain_files_and_folders_come_along(work: Work) -> None:
    (work.path / "result.json").write_text('{"a": 1}')
    (work.kept / "deep" / "er").mkdir(parents=True)
    (work.kept / "deep" / "er" / "x.txt").write_text("x")
    (work.kept / "empty").write_text("")
    found = work.reap()
    assert found.result == b'{"a": 1}'
    assert names(found) == {"deep/er/x.txt": b"x", "empty": b""}
    assert found.skipped == ()


def test_nothing_left_is_not_an_error(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    assert harvest(fd) == Harvest(None, (), ())
    os.close(fd)


@pytest.mark.parametrize("target", ["absolute", "up", "proc", "inside"])
def test_links_are_not_followed(work: Work, target: str) -> None:
    (work.kept / "inside.txt").write_text("mine")
    targets = {
        "absolute": str(work.secret),
        "up": "../../secret",
        "proc": f"/proc/self/fd/{work.fd}/../secret",
        "inside": "inside.txt",
    }
    for name in ("result.json", "artifacts/link"):
        (work.path / name).symlink_to(targets[target])
    found = work.reap()
    assert found.result is None
    assert names(found) == {"inside.txt": b"mine"}
    assert {"result.json", "link"} <= set(reasons(found))


def test_a_linked_folder_is_not_entered(work: Work) -> None:
    (work.kept / "up").symlink_to("../..")
    assert names(work.reap()) == {}


def test_the_folder_of_artifacts_may_not_be_a_link(work: Work) -> None:
    work.kept.rmdir()
    work.kept.symlink_to("..")
    assert names(work.reap()) == {}


def test_a_file_with_two_names_stays(work: Work) -> None:
    os.link(work.secret, work.kept / "twice")
    os.link(work.secret, work.path / "result.json")
    found = work.reap()
    assert found.result is None
    assert names(found) == {}
    assert reasons(found)["twice"] == "has more than one name"


def test_special_files_neither_hang_nor_come_along(work: Work) -> None:
    os.mkfifo(work.kept / "fifo")
    os.mkfifo(work.path / "result.json")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(work.kept)
        listener.bind("socket")
        os.chdir("/")
        begun = time.monotonic()
        found = work.reap()
    assert time.monotonic() - begun < 2
    assert (found.result, names(found)) == (None, {})
    assert reasons(found) == dict.fromkeys(("result.json", "fifo", "socket"), "not a regular file")


def test_a_sparse_terabyte_is_seen_by_its_size(work: Work) -> None:
    for path in (work.kept / "sparse", work.path / "result.json"):
        with path.open("wb") as file:
            file.truncate(1 << 40)
    found = work.reap()
    assert (found.result, names(found)) == (None, {})
    assert reasons(found)["sparse"].startswith("larger than")


def test_bytes_are_bounded_over_all_files(work: Work) -> None:
    for index in range(8):
        (work.kept / str(index)).write_bytes(bytes(300))
    found = work.reap(total_bytes=1000)
    assert sum(map(len, names(found).values())) == 900
    assert len(found.skipped) == 5


def test_depth_is_bounded(work: Work) -> None:
    here = os.dup(work.fd)
    for _ in range(200):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (work.path / "d").rename(work.kept / "d")
    found = work.reap()
    assert found.artifacts == ()
    assert [why for _, why in found.skipped] == ["deeper than 8 folders"]


def test_entries_are_bounded(work: Work) -> None:
    for index in range(5_000):
        (work.kept / f"{index:0>200}").touch()
    begun = time.monotonic()
    found = work.reap(entries=100)
    assert len(found.artifacts) == 100
    assert len(found.skipped) == 1
    assert time.monotonic() - begun < 2


def test_time_is_bounded(work: Work) -> None:
    for index in range(50):
        (work.kept / str(index)).touch()
    found = work.reap(seconds=0.0)
    assert found.artifacts == ()
    assert len(found.skipped) == 1


def test_odd_names_do_not_break_it(work: Work) -> None:
    odd = [b"\xff\xfe", b"new\nline", b"-rf", b"\x1b[2J", "\u202egnp".encode()]
    for name in odd:
        fd = os.open(os.fsencode(work.kept) + b"/" + name, os.O_CREAT | os.O_WRONLY)
        os.close(fd)
    found = work.reap()
    assert len(found.artifacts) == len(odd)
    for artifact in found.artifacts:
        artifact.name.encode()  # text that can be stored


SWAPPER = """
import os, sys
os.chdir(sys.argv[1])
while True:
    for name in ("result.json", "artifacts/f"):
        with open("plain", "wb") as f: f.write(b"mine")
        os.rename("plain", name)
        os.symlink(sys.argv[2], "link"); os.rename("link", name)
"""
FOLDER_SWAPPER = """
import os, sys
os.chdir(sys.argv[1])
os.mkdir("folder"); open("folder/secret", "w").write("mine"); os.symlink(sys.argv[2], "link")
while True:
    os.rename("folder", "artifacts/d"); os.rename("artifacts/d", "folder")
    os.rename("link", "artifacts/d"); os.rename("artifacts/d", "link")
"""


@pytest.mark.parametrize("code", [SWAPPER, FOLDER_SWAPPER], ids=["file", "folder"])
def test_a_swap_between_look_and_read_gives_nothing_of_the_host(work: Work, code: str) -> None:
    target = work.secret if code is SWAPPER else work.secret.parent
    swapper = subprocess.Popen([sys.executable, "-I", "-c", code, str(work.path), str(target)])
    try:
        while not any(work.kept.iterdir()):
            assert swapper.poll() is None
        seen = set()
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            found = work.reap()
            seen |= {found.result, *names(found).values()}
    finally:
        swapper.kill()
        swapper.wait()
    assert seen <= {None, b"mine", b""}
    assert b"mine" in seen  # both sides of the swap were met


def test_the_same_walk_with_plain_opens_is_led_astray(work: Work) -> None:
    """The control: what the careful opens are there for."""
    (work.kept / "link").symlink_to(work.secret)
    os.link(work.secret, work.kept / "twice")
    assert {path.read_bytes() for path in work.kept.iterdir()} == {HOST_SECRET}
    assert names(work.reap()) == {}
