"""Where control groups lie on every kind of host, and what is written into them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from insula.sandbox import cgroups
from insula.sandbox.cgroups import files, layout, v2
from insula.sandbox.cgroups.layout import Layout
from insula.sandbox.limits import MIB, Limits

LIMITS = Limits(memory=64 * MIB, pids=20, cpus=0.5, workspace=16 * MIB, inodes=100, wall_s=5.0)

V1_HOST = """24 23 0:20 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
25 23 0:21 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
26 23 0:22 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
27 23 0:23 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
28 23 0:24 / /proc rw - proc proc rw
"""
V1_OWN = "5:pids:/\n4:memory:/service/x\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n"


def test_version_1_is_found_controller_by_controller() -> None:
    found = layout.read(V1_OWN, V1_HOST)
    assert found.v1 == {
        "pids": Path("/sys/fs/cgroup/pids"),
        "memory": Path("/sys/fs/cgroup/memory/service/x"),
        "cpu": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "cpuacct": Path("/sys/fs/cgroup/cpu,cpuacct"),
    }
    assert found.v2 == Path("/sys/fs/cgroup/unified")


@pytest.mark.parametrize(
    ("own", "root", "expected"),
    [
        ("/system.slice/insula.service", "/", "/sys/fs/cgroup/system.slice/insula.service"),
        ("/docker/abc", "/docker/abc", "/sys/fs/cgroup"),
        ("/docker/abc/deep", "/docker/abc", "/sys/fs/cgroup/deep"),
        ("/", "/", "/sys/fs/cgroup"),
    ],
)
def test_version_2_is_found_where_the_mount_shows_it(own: str, root: str, expected: str) -> None:
    found = layout.read(f"0::{own}\n", f"30 23 0:26 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    assert found == Layout({}, Path(expected), Path("/sys/fs/cgroup"))


@pytest.mark.parametrize(
    "garbage", ["", "\n\n", "x", "1 2 3 - cgroup\n", "::\n", "a:b:c:d\n - cgroup2 x y\n"]
)
def test_what_is_not_understood_is_not_there(garbage: str) -> None:
    assert layout.read(garbage, garbage).v1 == {}
    assert set(cgroups.missing(layout.read(garbage, garbage))) == {"memory", "pids", "cpu", "cpuacct"}


class Tree:
    """Directories that answer as a version 2 hierarchy does: a group has its files from birth."""

    FILES = ("cgroup.procs", "cgroup.subtree_control", "memory.max", "memory.swap.max", "pids.max", "cpu.max")

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        make = Path.mkdir

        def born(path: Path, *args: object, **kwargs: object) -> None:
            make(path, *args, **kwargs)  # type: ignore[arg-type]
            self.furnish(path)

        self.furnish(root)
        (root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        monkeypatch.setattr(Path, "mkdir", born)

    def furnish(self, folder: Path) -> None:
        for name in self.FILES:
            if not (folder / name).exists():
                (folder / name).write_text("")

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    def layout(self, own: str = "") -> Layout:
        return Layout({}, self.root / own, self.root)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


def test_a_whole_version_2_is_preferred(tree: Tree) -> None:
    assert cgroups.missing(tree.layout()) == ()
    assert isinstance(cgroups.open_groups(tree.layout(), "insula-1"), v2.V2Groups)


@pytest.mark.parametrize("lacking", ["memory", "pids", "cpu"])
def test_a_version_2_without_a_controller_will_not_do(tree: Tree, lacking: str) -> None:
    offered = {"memory", "pids", "cpu"} - {lacking}
    (tree.root / "cgroup.controllers").write_text(" ".join(offered))
    assert lacking in cgroups.missing(tree.layout())


def test_limits_are_written_and_uses_read(tree: Tree) -> None:
    groups = v2.V2Groups(tree.layout(), "insula-1")
    group = groups.make("7")
    group.limit(LIMITS, spare_pids=1)
    assert tree.text("cgroup.subtree_control") == "+memory +pids +cpu"
    assert tree.text("insula-1/cgroup.subtree_control") == "+memory +pids +cpu"
    assert tree.text("insula-1/7/memory.max") == str(80 * MIB)
    assert tree.text("insula-1/7/memory.swap.max") == "0"
    assert tree.text("insula-1/7/pids.max") == "21"
    quota, period = map(int, tree.text("insula-1/7/cpu.max").split())
    assert quota / period == LIMITS.cpus
    for name, text in (
        ("cpu.stat", "usage_usec 1500000\nuser_usec 1\n"),
        ("memory.peak", "4096\n"),
        ("memory.events", "low 0\noom 2\noom_kill 1\n"),
    ):
        (tree.root / "insula-1/7" / name).write_text(text)
    used = group.used()
    assert (used.cpu_s, used.memory_peak, used.oom_kills) == (1.5, 4096, 1)


def test_a_group_that_is_gone_has_no_processes_and_used_nothing(tree: Tree) -> None:
    group = v2.V2Group(str(tree.root / "x"))
    for name in Tree.FILES:
        (tree.root / "x" / name).unlink()
    assert group.remove()
    assert group.remove()
    assert group.pids() == []
    assert group.used().oom_kills == 0


def test_a_busy_group_is_not_removed(tree: Tree) -> None:
    group = v2.V2Group(str(tree.root / "x"))
    assert not group.remove()


def test_in_a_container_our_own_processes_step_aside(tree: Tree) -> None:
    """A group with processes of its own cannot hand controllers down."""
    (tree.root / "cgroup.type").write_text("domain\n")  # so this is not the root of the tree
    (tree.root / "cgroup.procs").write_text(f"{os.getpid()}\n")
    v2.V2Groups(tree.layout(), "insula-1")
    assert tree.text("insula-platform/cgroup.procs") == str(os.getpid())


def test_a_second_spawner_does_not_build_below_the_first(tree: Tree) -> None:
    (tree.root / "cgroup.type").write_text("domain\n")
    v2.V2Groups(tree.layout(), "insula-1")
    groups = v2.V2Groups(tree.layout("insula-platform"), "insula-2")
    assert groups.places() == [tree.root / "insula-2"]


def test_numbers_that_are_not_there_are_zero(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert files.number(str(path)) == 0
    path.write_text("max\n")
    assert files.number(str(path)) == 0
    path.write_text("oom 1\noom_kill 12\n")
    assert files.number(str(path), "oom_kill") == 12
    assert files.number(str(path), "kill") == 0
