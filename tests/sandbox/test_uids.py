"""Host users are lent one at a time, over processes, platforms and crashes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insula.kernel.errors import Overloaded
from insula.sandbox.uids import Lease, Uids, carried_uids

SPAN = range(900_000, 900_008)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    moves=st.lists(
        st.tuples(st.sampled_from(["lend", "end", "prepare", "close"]), st.integers(0, 1), st.integers(0, 9)),
        max_size=40,
    )
)
def test_two_platforms_never_hold_the_same_uid(tmp_path_factory: pytest.TempPathFactory, moves: list) -> None:  # type: ignore[type-arg]
    directory = tmp_path_factory.mktemp("uids")
    platforms = [Uids(SPAN, directory), Uids(SPAN, directory)]
    held: list[Lease] = []
    try:
        for move, which, number in moves:
            if move == "lend":
                try:
                    held.append(platforms[which].lend())
                except Overloaded:
                    assert len(held) + _waiting(directory, held) == len(SPAN)
            elif move == "end" and held:
                held.pop(number % len(held)).end()
            elif move == "prepare":
                platforms[which].prepare(number % 4)
            elif move == "close":
                platforms[which].close()
            numbers = [lease.uid for lease in held]
            assert len(set(numbers)) == len(numbers)
            assert set(numbers) <= set(SPAN)
    finally:
        for lease in held:
            lease.end()
        for platform in platforms:
            platform.close()
    assert list(directory.iterdir()) == []


def _waiting(directory: Path, held: list[Lease]) -> int:
    """Files of uids that a platform found ahead of time and has not lent."""
    return len(list(directory.iterdir())) - len(held)


def test_all_in_use_is_said_with_the_way_out(tmp_path: Path) -> None:
    uids = Uids(range(900_000, 900_002), tmp_path)
    leases = [uids.lend(), uids.lend()]
    with pytest.raises(Overloaded) as refusal:
        uids.lend()
    assert "INSULA_UID" in (refusal.value.hint or "")
    leases[0].end()
    assert uids.lend().uid == leases[0].uid


def test_a_number_rests_as_long_as_possible(tmp_path: Path) -> None:
    uids = Uids(range(900_000, 900_004), tmp_path)
    order = []
    for _ in range(8):
        lease = uids.lend()
        order.append(lease.uid - 900_000)
        lease.end()
    assert order == [0, 1, 2, 3, 0, 1, 2, 3]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_uid_that_a_process_still_carries_is_passed_over(tmp_path: Path) -> None:
    leftover = subprocess.Popen(["/bin/sleep", "60"], user=900_000)
    try:
        assert Uids(range(900_000, 900_002), tmp_path).lend().uid == 900_001
    finally:
        leftover.kill()
        leftover.wait()
    assert 900_000 not in carried_uids()


def test_the_lock_goes_with_its_last_holder(tmp_path: Path) -> None:
    """A killed platform gives nothing back itself; the kernel does."""
    code = (
        "import sys, time; from pathlib import Path; from insula.sandbox.uids import Uids\n"
        "held = Uids(range(900_000, 900_001), Path(sys.argv[1])).lend()\n"
        "print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        uids = Uids(range(900_000, 900_001), tmp_path)
        with pytest.raises(Overloaded):
            uids.lend()
        holder.kill()
        holder.wait()
    assert uids.lend().uid == 900_000


def test_a_copy_of_the_lock_keeps_the_lease(tmp_path: Path) -> None:
    """The spawner holds a copy while the sandbox lives: a dead platform's uid is not lent under it."""
    uids = Uids(range(900_000, 900_001), tmp_path)
    lease = uids.lend()
    copy = os.dup(lease.lock)
    os.close(lease.lock)
    with pytest.raises(Overloaded):
        uids.lend()
    os.close(copy)
    assert uids.lend().uid == 900_000


def test_many_at_once_get_different_ones(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from insula.sandbox.uids import Uids\n"
        "uids = Uids(range(900_000, 900_040), Path(sys.argv[1]))\n"
        "held = [uids.lend() for _ in range(10)]\n"
        "print(*[one.uid for one in held], flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipe = subprocess.PIPE
    takers = [subprocess.Popen(command, stdout=pipe, stdin=pipe) for _ in range(4)]
    lines = [taker.stdout.readline() for taker in takers if taker.stdout]
    begun = time.monotonic()
    for taker in takers:
        taker.communicate()
    assert time.monotonic() - begun < 20
    numbers = [int(word) for line in lines for word in line.split()]
    assert len(numbers) == len(set(numbers)) == 40
