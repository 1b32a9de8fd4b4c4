"""From the call to the books: durable, once, in spite of full disks, failing books and early leavers."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from insula.kernel.errors import Misconfigured, Overloaded, UnavailableError
from insula.storage import ControlDatabase
from insula.usage import Outbox, Recorder, UsageEvent
from insula.usage import outbox as outbox_module
from insula.usage.adapters.sql import SqlBooks


def run(scenario: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(scenario(), 60)

    return asyncio.run(bounded())


def calls(books: SqlBooks, tenant: str = "acme") -> int:
    return sum(row.calls for row in books.periods(tenant))


def journals(home: Path) -> list[Path]:
    return sorted(home.glob("*.journal"))


def test_events_are_durable_then_booked_and_the_journal_ends_empty(
    books: SqlBooks, tmp_path: Path, make: Any
) -> None:
    async def scenario() -> None:
        recorder = Recorder(Outbox(tmp_path / "usage", segment_bytes=4096), books, linger_s=0.01)
        await recorder.start()
        for start in range(0, 300, 50):
            await asyncio.gather(*(recorder.record(make(number)) for number in range(start, start + 50)))
        on_disk = b"".join(path.read_bytes() for path in journals(tmp_path / "usage"))
        assert b"evt_%026d" % 299 in on_disk
        await recorder.flush()
        assert calls(books) == 300
        assert len(journals(tmp_path / "usage")) <= 2, "booked segments are removed while we run"
        await recorder.stop()

    run(scenario)
    assert journals(tmp_path / "usage") == []


def test_events_are_booked_without_anyone_asking(books: SqlBooks, tmp_path: Path, make: Any) -> None:
    async def scenario() -> None:
        recorder = Recorder(Outbox(tmp_path / "usage"), books, linger_s=0.001)
        await recorder.start()
        await recorder.record(make(1))
        while calls(books) == 0:
            await asyncio.sleep(0.005)
        await recorder.stop()

    run(scenario)


def test_a_flush_includes_what_was_recorded_before_it(books: SqlBooks, tmp_path: Path, make: Any) -> None:
    async def scenario() -> None:
        recorder = Recorder(Outbox(tmp_path / "usage"), books, linger_s=30)
        await recorder.start()
        for number in range(20):
            recorder.record(make(number))
            await recorder.flush()
            assert calls(books) == number + 1
        await recorder.stop()

    run(scenario)


def test_a_caller_who_leaves_does_not_unrecord(books: SqlBooks, tmp_path: Path, make: Any) -> None:
    async def scenario() -> None:
        recorder = Recorder(Outbox(tmp_path / "usage"), books)
        await recorder.start()
        recorder.record(make(1)).cancel()
        flush = asyncio.create_task(recorder.flush())
        await asyncio.sleep(0)
        flush.cancel()
        await recorder.flush()
        assert calls(books) == 1
        await recorder.stop()

    run(scenario)


class FailingBooks:
    """Real books that refuse a few times, before or after they have written."""

    def __init__(self, books: SqlBooks, failures: int, after: bool) -> None:
        self.books, self.failures, self.after = books, failures, after

    def add(self, events: Sequence[UsageEvent]) -> int:
        fail, self.failures = self.failures > 0, self.failures - 1
        if fail and not self.after:
            raise OSError("no books today")
        added = self.books.add(events)
        if fail:
            raise OSError("the answer was lost")
        return added


@pytest.mark.parametrize("after", [False, True], ids=["before writing", "after writing"])
def test_failing_books_lose_and_double_nothing(
    books: SqlBooks, tmp_path: Path, make: Any, after: bool
) -> None:
    async def scenario() -> None:
        recorder = Recorder(Outbox(tmp_path / "usage"), FailingBooks(books, 3, after), linger_s=30)
        await recorder.start()
        await asyncio.gather(*(recorder.record(make(number)) for number in range(30)))
        for _ in range(3):
            with pytest.raises(OSError):
                await recorder.flush()
        await recorder.flush()
        assert calls(books) == 30
        await recorder.stop()

    run(scenario)


def test_what_could_not_be_booked_is_booked_at_the_next_start(
    books: SqlBooks, tmp_path: Path, make: Any
) -> None:
    async def first() -> None:
        recorder = Recorder(Outbox(tmp_path / "usage"), FailingBooks(books, 99, after=False), linger_s=30)
        await recorder.start()
        await asyncio.gather(*(recorder.record(make(number)) for number in range(30)))
        await recorder.stop()
        assert calls(books) == 0

    async def second() -> None:
        recorder = Recorder(Outbox(tmp_path / "usage"), books)
        await recorder.start()
        assert calls(books) == 30
        await recorder.record(make(31))
        await recorder.stop()

    run(first)
    run(second)
    assert calls(books) == 31
    assert journals(tmp_path / "usage") == []


def test_an_unreadable_line_is_kept_aside_and_the_rest_is_booked(
    books: SqlBooks, tmp_path: Path, make: Any
) -> None:
    async def leave(number: int) -> None:
        recorder = Recorder(Outbox(tmp_path / "usage"), FailingBooks(books, 99, after=False), linger_s=30)
        await recorder.start()
        await asyncio.gather(*(recorder.record(make(number)) for number in range(3)))
        await recorder.stop()

    run(lambda: leave(3))
    (journal,) = journals(tmp_path / "usage")
    journal.write_bytes(journal.read_bytes().replace(b"evt_%026d" % 1, b"evt_%026d" % 9, 1))

    async def again() -> None:
        recorder = Recorder(Outbox(tmp_path / "usage"), books)
        await recorder.start()
        await recorder.stop()

    run(again)
    assert calls(books) == 2
    assert len(list((tmp_path / "usage").glob("*.unreadable"))) == 1


def test_two_platforms_cannot_share_an_outbox(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "usage")
    with pytest.raises(Misconfigured):
        Outbox(tmp_path / "usage")
    run(first.stop)
    run(Outbox(tmp_path / "usage").stop)


def test_a_caller_is_told_when_recording_falls_behind(
    books: SqlBooks, tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_MOST_WAITING", 5)

    async def scenario() -> None:
        recorder = Recorder(Outbox(tmp_path / "usage"), books, linger_s=30)
        await recorder.start()
        futures = [recorder.record(make(number)) for number in range(9)]
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None)] * 5 + [Overloaded] * 4
        await recorder.flush()
        assert calls(books) == 5
        await recorder.record(make(10))
        await recorder.stop()

    run(scenario)


async def fill_then_recover(
    outbox: Outbox, books: SqlBooks, make: Any, recover: Callable[[], None]
) -> set[str]:
    """Record until the disk refuses, then make room and go on; return the ids acknowledged."""
    recorder = Recorder(outbox, books, linger_s=0.01)
    await recorder.start()
    acknowledged: set[str] = set()
    refused = 0
    for number in range(2_000):
        event = make(number, subject="s" * 300)
        try:
            await recorder.record(event)
            acknowledged.add(event.event_id)
        except UnavailableError as error:
            assert "recorded" in error.message and error.retry_after_s
            assert recorder.failure
            refused += 1
            if refused == 3:
                break
    assert refused == 3 and acknowledged
    with pytest.raises(UnavailableError):
        recorder.check()
    recover()
    while recorder.failure:
        await asyncio.sleep(0.02)
    recorder.check()
    event = make(9_999)
    await recorder.record(event)
    assert recorder.failure is None
    await recorder.stop()
    return acknowledged | {event.event_id}


def booked_ids(books: SqlBooks) -> list[str]:
    with books._database.read() as connection:
        return list(connection.exec_driver_sql("SELECT event_id FROM usage_events").scalars())


@pytest.mark.root
def test_a_full_disk_is_told_to_the_caller_and_counts_nothing(
    books: SqlBooks, tmp_path: Path, make: Any
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        ballast = small / "ballast"
        ballast.write_bytes(b"x" * 24_576)
        outbox = Outbox(small / "usage", segment_bytes=8192)
        acknowledged = run(lambda: fill_then_recover(outbox, books, make, ballast.unlink))
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)  # whatever a failure left open
    assert sorted(booked_ids(books)) == sorted(acknowledged)


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Let the kernel refuse to grow files beyond a size, without root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_write_refused_half_way_counts_nothing(
    books: SqlBooks, tmp_path: Path, make: Any, file_size_limit: Callable[[int], None]
) -> None:
    async def scenario() -> None:
        recorder = Recorder(Outbox(tmp_path / "usage", segment_bytes=2_000), books, linger_s=30)
        await recorder.start()
        await recorder.record(make(1))
        file_size_limit(2_000)
        outcomes = await asyncio.gather(
            *(recorder.record(make(number)) for number in range(2, 40)), return_exceptions=True
        )
        file_size_limit(resource.RLIM_INFINITY)
        written = [number for number, outcome in enumerate(outcomes, 2) if outcome is None]
        assert any(isinstance(outcome, UnavailableError) for outcome in outcomes)
        await recorder.record(make(99))
        newest = journals(tmp_path / "usage")[-1].read_bytes()
        assert newest.count(b"evt_") == 1, "a file that failed once takes no more"
        shutil.copytree(tmp_path / "usage", tmp_path / "crashed")
        await recorder.stop()
        assert sorted(booked_ids(books)) == [f"evt_{number:026d}" for number in [1, *written, 99]]

    run(scenario)

    async def replay() -> list[str]:
        control = ControlDatabase(tmp_path / "other.db")
        recorder = Recorder(Outbox(tmp_path / "crashed"), SqlBooks(control))
        await recorder.start()
        await recorder.stop()
        found = booked_ids(SqlBooks(control))
        control.close()
        return found

    assert sorted(run(replay)) == sorted(booked_ids(books)), "a crash right then would have counted the same"


def test_nothing_is_left_open(books: SqlBooks, tmp_path: Path, make: Any) -> None:
    async def scenario() -> None:
        recorder = Recorder(Outbox(tmp_path / "usage", segment_bytes=1024), books, linger_s=0.001)
        await recorder.start()
        await asyncio.gather(*(recorder.record(make(number)) for number in range(100)))
        await recorder.stop()

    run(scenario)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        run(scenario)
    assert len(os.listdir("/proc/self/fd")) == before
