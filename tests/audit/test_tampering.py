"""Whatever is done to a stream's file, verification finds it."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insula.audit import AuditLog, VerifyReport
from insula.audit.chain import verify_lines
from insula.audit.record import canonical, from_line, genesis, link, to_line
from insula.kernel.clock import ManualClock
from insula.storage import SqlHeads

KEY = b"a" * 32
COUNT = 5
Open = Callable[[], AuditLog]


class Heads:
    """Heads in memory, for the pure tests."""

    def __init__(self) -> None:
        self.heads: dict[str, tuple[int, str]] = {}

    def get(self, chain: str) -> tuple[int, str] | None:
        return self.heads.get(chain)

    def put(self, chain: str, seq: int, digest: str) -> None:
        self.heads[chain] = (seq, digest)

    def chains(self) -> tuple[str, ...]:
        return tuple(self.heads)


def fill(log: AuditLog, stream: str = "acme", count: int = COUNT) -> None:
    for number in range(count):
        log.append(
            stream, "tenant.changed", outcome="ok", actor="operator/1", target="t", number=number, note="ä\n"
        )


def made() -> tuple[bytes, tuple[int, str]]:
    """A good stream of five records and its head."""
    with tempfile.TemporaryDirectory() as home:
        heads = Heads()
        log = AuditLog(Path(home), KEY, heads, ManualClock())
        fill(log)
        return (Path(home) / "acme.jsonl").read_bytes(), heads.heads["acme"]


DATA, HEAD = made()
LINES = DATA.splitlines(keepends=True)


def judge(data: bytes, stream: str = "acme") -> VerifyReport:
    return verify_lines(KEY, stream, data.splitlines(keepends=True), HEAD)


def test_an_untouched_stream_is_whole() -> None:
    """The control of every case below."""
    assert judge(DATA) == VerifyReport("acme", COUNT, ok=True)


@settings(deadline=None, max_examples=400)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_any_changed_byte_is_found(at: int, difference: int) -> None:
    changed = bytearray(DATA)
    changed[at] ^= difference
    assert not judge(bytes(changed)).ok


@settings(deadline=None)
@given(st.permutations(range(COUNT)))
def test_any_other_order_is_found(order: list[int]) -> None:
    assert judge(b"".join(LINES[index] for index in order)).ok == (order == list(range(COUNT)))


@settings(deadline=None)
@given(st.sets(st.integers(0, COUNT - 1), min_size=1))
def test_any_removal_is_found_first_middle_last_or_all(gone: set[int]) -> None:
    report = judge(b"".join(line for index, line in enumerate(LINES) if index not in gone))
    assert not report.ok and report.at_seq == min(gone) + 1
    last_left = max(set(range(COUNT)) - gone, default=-1)
    said = "removed, inserted or reordered" if last_left > min(gone) else "were removed"
    assert report.problem is not None and report.problem.endswith(said)


@settings(deadline=None)
@given(st.integers(0, COUNT), st.integers(0, COUNT - 1))
def test_any_line_inserted_again_is_found(at: int, which: int) -> None:
    lines = [*LINES[:at], LINES[which], *LINES[at:]]
    assert not judge(b"".join(lines)).ok


@settings(deadline=None)
@given(st.integers(0, len(DATA) - 1))
def test_any_cut_is_found(at: int) -> None:
    assert not judge(DATA[:at]).ok


@settings(deadline=None)
@given(st.integers(0, len(DATA)), st.binary(min_size=1, max_size=20))
def test_any_inserted_bytes_are_found(at: int, extra: bytes) -> None:
    assert not judge(DATA[:at] + extra + DATA[at:]).ok


def test_a_stream_under_another_name_is_found() -> None:
    assert judge(DATA, "beta").at_seq == 1


def test_a_chain_made_anew_without_the_key_is_found() -> None:
    prev, lines = genesis(b"b" * 32, "acme"), []
    for line in LINES:
        body = from_line(line).as_dict() | {"prev": prev}
        del body["hash"]
        prev = link(b"b" * 32, prev, body)
        lines.append(canonical({**body, "hash": prev}) + b"\n")
    assert not judge(b"".join(lines)).ok


@pytest.mark.parametrize(
    "respell",
    [
        lambda record: json.dumps(record).encode(),
        lambda record: json.dumps(record, separators=(",", ":")).encode(),
        lambda record: canonical(record | {"more": 1}),
        lambda record: canonical(record | {"seq": True}),
        lambda record: canonical(record | {"seq": 1.0}),
        lambda record: b"\xef\xbb\xbf" + canonical(record),
        lambda record: canonical(record)[:-1] + b',"seq":1}',
    ],
)
def test_the_same_record_in_another_spelling_is_found(respell: Callable[[dict[str, object]], bytes]) -> None:
    first = from_line(LINES[0]).as_dict()
    assert judge(respell(first) + b"\n" + b"".join(LINES[1:])).at_seq == 1


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_judged_and_never_raises(noise: bytes) -> None:
    assert not judge(noise).ok


def test_a_line_is_read_back_as_it_was() -> None:
    for line in LINES:
        assert to_line(from_line(line)) == line


def test_a_missing_file_and_a_missing_directory_entry_are_found(
    log: AuditLog, path: Path, reopen: Open
) -> None:
    fill(log)
    path.unlink()
    for view in (log, reopen()):
        assert view.streams() == ("acme",)
        assert view.verify("acme") == VerifyReport("acme", 0, False, "records 1 to 5 were removed", 1)


def test_files_that_changed_places_are_found(log: AuditLog, path: Path) -> None:
    fill(log)
    fill(log, "beta")
    other = path.with_name("beta.jsonl")
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)
    assert not log.verify("acme").ok and not log.verify("beta").ok


def test_an_anchor_set_back_is_found_while_the_records_stand(
    log: AuditLog, tmp_path: Path, heads: SqlHeads
) -> None:
    fill(log)
    with sqlite3.connect(tmp_path / "control.db") as connection:
        connection.execute("update chain_heads set hash = ? where chain = 'acme'", ("0" * 64,))
    report = log.verify("acme")
    assert (report.ok, report.problem) == (False, "the anchored head is another record")


def test_appending_after_a_removal_does_not_heal_it(log: AuditLog, path: Path, reopen: Open) -> None:
    fill(log)
    path.write_bytes(b"".join(LINES[:0]) + b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    for view in (log, reopen()):
        view.append("acme", "tenant.changed", outcome="ok", actor="operator/1")
        report = view.verify("acme")
        assert not report.ok and report.at_seq == 4
    assert [record.seq for record in log.read("acme")] == [1, 2, 3, 6, 7]


def test_removing_what_is_not_anchored_yet_is_found_too(log: AuditLog, path: Path) -> None:
    fill(log)
    log.append("acme", "run.refused", outcome="refused", actor="agent/a", durable=False)
    log.append("acme", "run.refused", outcome="refused", actor="agent/a", durable=False)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    log.append("acme", "run.refused", outcome="refused", actor="agent/a", durable=False)
    report = log.verify("acme")
    assert not report.ok and report.at_seq == COUNT + 2


def test_appending_after_an_edit_of_the_last_line_does_not_heal_it(
    log: AuditLog, path: Path, reopen: Open
) -> None:
    fill(log)
    data = path.read_bytes()
    path.write_bytes(data[:-20] + b"X" + data[-19:])
    reopen().append("acme", "tenant.changed", outcome="ok", actor="operator/1")
    assert reopen().verify("acme").at_seq == COUNT
    path.write_bytes(b"junk\n")
    reopen().append("acme", "tenant.changed", outcome="ok", actor="operator/1")
    assert reopen().verify("acme").at_seq == 1
