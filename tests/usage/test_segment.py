"""Segments: whole lines survive, torn tails do not count, damage is noticed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insula.usage.segment import Segment, frame, read

PAYLOAD = st.lists(
    st.binary(min_size=1, max_size=30).map(lambda raw: raw.hex().encode()), min_size=1, max_size=8
)


def write(path: Path, events: list[bytes], size: int = 4096) -> bytes:
    segment = Segment(path, size)
    for event in events:
        segment.write(frame(event))
    segment.close()
    return path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(PAYLOAD, st.data())
def test_a_cut_at_any_byte_leaves_the_events_before_it(
    tmp_path_factory: pytest.TempPathFactory, events: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("segment") / "1.journal"
    written = write(path, events).rstrip(b"\0")
    cut = data.draw(st.integers(0, len(written)))
    path.write_bytes(written[:cut] + data.draw(st.sampled_from([b"", b"\0" * 50])))
    contents = read(path)
    ends = [len(b"".join(map(frame, events[:count]))) for count in range(len(events) + 1)]
    assert list(contents.events) == events[: max(count for count, end in enumerate(ends) if end <= cut)]
    assert contents.broken == 0
    assert contents.torn == (cut not in ends)


@settings(max_examples=60, deadline=None)
@given(PAYLOAD.filter(lambda events: len(events) > 1), st.data())
def test_a_changed_byte_costs_its_own_line_only(
    tmp_path_factory: pytest.TempPathFactory, events: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("segment") / "1.journal"
    written = bytearray(write(path, events).rstrip(b"\0"))
    victim = data.draw(st.integers(0, len(events) - 2))
    start = len(b"".join(map(frame, events[:victim])))
    at = data.draw(st.integers(start, start + len(frame(events[victim])) - 2))
    written[at] ^= 0x01
    path.write_bytes(bytes(written))
    contents = read(path)
    assert list(contents.events) == events[:victim] + events[victim + 1 :]
    assert contents.broken == 1


def test_a_segment_is_private_and_allocated_whole(tmp_path: Path) -> None:
    segment = Segment(tmp_path / "1.journal", 8192)
    assert fcntl.fcntl(segment._fd, fcntl.F_GETFL) & os.O_DSYNC, "a write that returns is on the disk"
    status = (tmp_path / "1.journal").stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_size == 8192 and status.st_blocks * 512 >= 8192
    seen = [segment.full]
    segment.write(b"x" * 9000)
    seen.append(segment.full)
    segment.close()
    assert seen == [False, True]


def test_an_empty_segment_holds_nothing(tmp_path: Path) -> None:
    write(tmp_path / "1.journal", [])
    contents = read(tmp_path / "1.journal")
    assert (list(contents.events), contents.broken, contents.torn) == ([], 0, False)
