"""Whoever dies, whenever: nothing of a sandbox is left, and no host user is lent twice."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from insula.kernel.errors import UnavailableError
from insula.sandbox import Sandboxes
from insula.sandbox.places import INSTANCES, UIDS
from insula.sandbox.uids import carried_uids
from insula.tenancy import Rung

# Leaves the session, ignores every signal it can, and stays.
STUBBORN = """
import os, signal, sys, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: time.sleep(600)
        os._exit(0)
print("up", flush=True)
time.sleep(600)
"""
QUICK = "print('done')"


@pytest.fixture
def alone(ground: Any, tmp_path: Path) -> Iterator[Any]:
    """A platform for this test alone, to be killed at will."""
    made = type(ground)(tmp_path, ground.rootfs)
    yield made
    made.close()


def eventually(holds: Callable[[], bool], within_s: float = 2.0) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def spawner_of(platform: int) -> int:
    """Return the pid of the spawner that the process ``platform`` started last."""
    found = [
        one.pid for one in psutil.Process(platform).children() if "insula.sandbox.spawner" in one.cmdline()
    ]
    return max(found, key=lambda pid: psutil.Process(pid).create_time())


def groups_of(spawner: int) -> list[str]:
    mark = f"/insula-{spawner}-"
    return [place for place, _, _ in os.walk("/sys/fs/cgroup") if mark in place]


def lent(uid: int) -> bool:
    """Whether somebody holds the lock of ``uid``."""
    try:
        fd = os.open(UIDS / str(uid), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def traces(spawner: int) -> Counter[str]:
    """Count what this process and its spawner hold, and what the host shows of them."""
    found: Counter[str] = Counter()
    for name, pid in (("platform", os.getpid()), ("spawner", spawner)):
        kinds = (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in _listed(f"/proc/{pid}/fd"))
        found.update(f"{name} fd {kind.split(':')[0]}" for kind in kinds if "/uids/" not in kind)
        found[f"{name} mount"] = len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines())
    found["child"] = len(psutil.Process(spawner).children(recursive=True))
    found["group"] = len(groups_of(spawner))
    return found


def _listed(folder: str) -> list[str]:
    return [name for name in os.listdir(folder) if os.path.lexists(f"{folder}/{name}")]


async def first_line(sandbox: Any) -> bytes:
    chunk = await anext(sandbox.output)
    return bytes(chunk.data)


async def running(ground: Any, backend: Rung, count: int, code: str = STUBBORN) -> list[Any]:
    """Start ``count`` sandboxes and see them print."""
    made = [await ground.launch(backend, ground.spec(code)) for _ in range(count)]
    assert {await first_line(sandbox) for sandbox in made} == {b"up\n"}
    return made


def test_a_killed_spawner_takes_its_sandboxes_along_and_is_replaced(alone: Any, backend: Rung) -> None:
    async def scene() -> tuple[list[Any], list[Any], Any]:
        sandboxes = await running(alone, backend, 3)
        os.kill(old, signal.SIGKILL)
        ends = [await sandbox.wait() for sandbox in sandboxes]
        receipts = [await sandbox.destroy() for sandbox in sandboxes]
        return ends, receipts, await alone.live(backend, QUICK)

    old = spawner_of(os.getpid())
    ends, receipts, after = alone.wait(scene())
    assert [end.reason for end in ends] == ["lost"] * 3
    assert all(receipt.clean for receipt in receipts), receipts
    assert after.out == "done\n"
    assert spawner_of(os.getpid()) != old
    assert groups_of(old) == []


def test_a_spawner_killed_again_and_again_is_replaced_each_time(alone: Any) -> None:
    for _ in range(3):
        os.kill(spawner_of(os.getpid()), signal.SIGKILL)

        async def scene() -> Any:
            for _ in range(100):
                try:
                    return await alone.live(Rung.BUBBLEWRAP, QUICK)
                except UnavailableError:  # it says so, until the next one is there
                    await asyncio.sleep(0.05)
            raise AssertionError("never came back")

        assert alone.wait(scene()).out == "done\n"


PLATFORM = """
import importlib.util, os, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("conftest_of_sandboxes", sys.argv[1])
conftest = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = conftest
spec.loader.exec_module(conftest)
from insula.tenancy import Rung
ground = conftest.Ground(Path(sys.argv[2]), Path(sys.argv[3]))
backend, code = Rung.named(sys.argv[4]), sys.argv[5]
async def main():
    made = [await ground.launch(backend, ground.spec(code)) for _ in range(3)]
    for sandbox in made:
        assert (await anext(sandbox.output)).data == b"up\\n"
    print(*[sandbox.uid for sandbox in made], flush=True)
    import asyncio; await asyncio.sleep(600)
ground.wait(main())
"""


class OtherPlatform:
    """A platform in a process of its own, with three stubborn sandboxes."""

    def __init__(self, ground: Any, home: Path, backend: Rung) -> None:
        conftest = str(Path(__file__).with_name("conftest.py"))
        command = [
            sys.executable,
            "-c",
            PLATFORM,
            conftest,
            str(home),
            str(ground.rootfs),
            str(backend),
            STUBBORN,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        with self.process.stdout as said:
            self.uids = [int(word) for word in said.readline().split()]
        assert len(self.uids) == 3
        self.spawner = spawner_of(self.process.pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def other(ground: Any, tmp_path: Path, backend: Rung) -> Iterator[OtherPlatform]:
    made = OtherPlatform(ground, tmp_path, backend)
    yield made
    made.kill()


def test_a_killed_platform_leaves_nothing(other: OtherPlatform) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    assert set(other.uids) <= carried_uids()
    assert all(lent(uid) for uid in other.uids)
    assert groups_of(other.spawner)
    other.kill()
    assert eventually(lambda: not set(other.uids) & carried_uids())
    assert eventually(lambda: not psutil.pid_exists(other.spawner))
    assert groups_of(other.spawner) == []
    assert not any(lent(uid) for uid in other.uids)
    assert list(INSTANCES.glob(f"insula-{other.spawner}-*")) == []
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_platform_and_spawner_killed_at_once_are_swept_by_the_next(ground: Any, other: OtherPlatform) -> None:
    assert groups_of(other.spawner)
    other.process.send_signal(signal.SIGSTOP)  # so that it cannot notice and replace its spawner
    os.kill(other.spawner, signal.SIGKILL)
    other.kill()
    assert eventually(lambda: not set(other.uids) & carried_uids())
    assert not any(lent(uid) for uid in other.uids)

    async def scene() -> None:
        next_one = Sandboxes(ground.clock, range(211_000, 211_010))
        await next_one.start()
        await next_one.stop()

    asyncio.run(scene())
    assert groups_of(other.spawner) == []
    assert list(INSTANCES.glob(f"insula-{other.spawner}-*")) == []


def test_platforms_at_once_never_share_a_uid_and_do_not_sweep_each_other(
    ground: Any, other: OtherPlatform, backend: Rung
) -> None:
    async def scene() -> list[Any]:
        sandboxes = await asyncio.gather(*(ground.launch(backend, ground.spec(STUBBORN)) for _ in range(8)))
        third = Sandboxes(ground.clock, range(211_000, 211_010))
        await third.start()
        await third.stop()
        return list(sandboxes)

    ours = ground.wait(scene())
    uids = [sandbox.uid for sandbox in ours] + other.uids
    assert len(set(uids)) == 11
    assert set(uids) <= carried_uids()
    for sandbox in ours:
        assert ground.wait(sandbox.destroy()).clean


def test_twenty_at_once_leave_nothing(ground: Any, backend: Rung) -> None:
    async def many(count: int) -> list[Any]:
        return await asyncio.gather(*(ground.live(backend, QUICK) for _ in range(count)))

    spawner = spawner_of(os.getpid())
    ground.wait(many(20))  # threads and seats have their number now
    ground.wait(asyncio.sleep(0.3))
    before = traces(spawner)
    ends = ground.wait(many(20))
    assert {(one.out, one.receipt.clean) for one in ends} == {("done\n", True)}
    assert len({one.uid for one in ends}) == 20
    assert eventually(lambda: _settled(ground, spawner) <= before), traces(spawner) - before


def _settled(ground: Any, spawner: int) -> Counter[str]:
    ground.wait(asyncio.sleep(0.05))
    return traces(spawner)


@pytest.mark.slow
def test_two_hundred_in_a_row_leave_nothing(ground: Any, backend: Rung) -> None:
    spawner = spawner_of(os.getpid())
    ground.python(backend, QUICK)
    ground.wait(asyncio.sleep(0.3))
    before = traces(spawner)
    for _ in range(200):
        assert ground.python(backend, QUICK).out == "done\n"
    assert eventually(lambda: _settled(ground, spawner) <= before), traces(spawner) - before


def test_a_launch_that_nobody_waits_for_is_undone(ground: Any, backend: Rung) -> None:
    async def scene() -> None:
        for pause_s in (0.0, 0.001, 0.003, 0.006, 0.01, 0.02, 0.04):
            task = asyncio.create_task(ground.launch(backend, ground.spec(STUBBORN)))
            await asyncio.sleep(pause_s)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                assert (await (await task).destroy()).clean
        await asyncio.sleep(0.2)

    spawner = spawner_of(os.getpid())
    ground.python(backend, QUICK)
    ground.wait(asyncio.sleep(0.3))
    before = traces(spawner)
    ground.wait(scene())
    assert eventually(lambda: _settled(ground, spawner) <= before), traces(spawner) - before


def test_a_door_that_cannot_be_opened_costs_nothing(ground: Any, backend: Rung) -> None:
    async def refuse(uid: int) -> Path:
        asked.append(uid)
        raise RuntimeError("no door today")

    asked: list[int] = []
    with pytest.raises(RuntimeError, match="no door today"):
        ground.wait(ground.launch(backend, ground.spec(QUICK), open_door=refuse))
    assert not lent(asked[0])


def test_destroying_twice_at_once_and_before_the_end_is_one_destruction(ground: Any, backend: Rung) -> None:
    async def scene() -> list[Any]:
        sandbox = (await running(ground, backend, 1))[0]
        receipts = await asyncio.gather(*(sandbox.destroy() for _ in range(5)))
        return [*receipts, (await sandbox.wait()).reason, lent(sandbox.uid)]

    *receipts, reason, still_lent = ground.wait(scene())
    assert all(receipt.clean for receipt in receipts)
    assert (reason, still_lent) == ("destroyed", False)


def test_stopping_the_platform_ends_what_runs(ground: Any, backend: Rung, tmp_path: Path) -> None:
    made = type(ground)(tmp_path, ground.rootfs)
    sandboxes = made.wait(running(made, backend, 3))
    spawner = spawner_of(os.getpid())
    made.close()
    assert not {sandbox.uid for sandbox in sandboxes} & carried_uids()
    assert groups_of(spawner) == []
    assert not psutil.pid_exists(spawner)
