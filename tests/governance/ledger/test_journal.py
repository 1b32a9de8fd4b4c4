"""The journal: what it holds after a crash, a full disk, a damaged file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from insula.governance.ledger.journal import NAME, Journal, frame, read
from insula.kernel.errors import Misconfigured


def entries(count: int) -> list[list[Any]]:
    return [["acme", "tick", {"now_us": number}] for number in range(count)]


def written(directory: Path, count: int = 5) -> Path:
    journal = Journal(directory)
    journal.begin(entries(2))
    for entry in entries(count)[2:]:
        journal.append(entry)
    journal.close()
    return directory / NAME


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = read(written(tmp_path))
    assert list(found.entries) == entries(5)
    assert (found.broken, found.torn) == ((), False)


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert read(tmp_path / NAME).entries == ()


def test_a_torn_end_is_left_out_wherever_it_tears(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    last = len(frame(5, entries(5)[4]))
    for cut in range(1, last + 1):
        path.write_bytes(whole[:-cut])
        found = read(path)
        assert list(found.entries) == entries(4)
        assert (found.broken, found.torn) == ((), cut < last)


def test_an_end_of_zeros_is_torn_too(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert list(read(path).entries) == entries(5)


@pytest.mark.parametrize("line", range(5))
def test_a_broken_line_is_reported_and_the_others_are_read(tmp_path: Path, line: int) -> None:
    path = written(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b"acme", b"acne")
    path.write_bytes(b"".join(lines))
    found = read(path)
    assert found.broken == (line + 1,)
    assert list(found.entries) == [entry for number, entry in enumerate(entries(5)) if number != line]


def test_a_missing_line_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[3:]))
    assert read(path).broken == (2, 3)


def test_a_new_file_takes_the_place_of_the_old_one_at_once(tmp_path: Path) -> None:
    path = written(tmp_path)
    journal = Journal(tmp_path)
    path.with_suffix(".new").write_bytes(b"left by a crash")
    journal.begin(entries(1))
    assert list(read(path).entries) == entries(1)
    journal.append(entries(2)[1])
    journal.close()
    assert list(read(path).entries) == entries(2)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    journal.begin(entries(3))
    real, left = os.write, [10]

    def nearly_full(fd: int, data: Any) -> int:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, bytes(data)[: left.pop()])

    monkeypatch.setattr(os, "write", nearly_full)
    with pytest.raises(OSError, match="No space"):
        journal.append(entries(4)[3])
    with pytest.raises(OSError, match="No space"):
        journal.begin(entries(1))
    monkeypatch.setattr(os, "write", real)
    assert list(journal.read().entries) == entries(3)
    journal.append(entries(4)[3])
    journal.close()
    assert list(read(tmp_path / NAME).entries) == entries(4)


def test_one_process_keeps_a_directory(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(Misconfigured, match="another process"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_flushing_survives_a_new_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(entries(1))
    journal.append(entries(2)[1])
    assert journal.dirty
    flush = journal.flusher()
    journal.begin(entries(2))
    flush()
    assert not journal.dirty
    journal.close()
