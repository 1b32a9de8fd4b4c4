"""Appending: durable, serialised, repaired after a crash (and only then), refusing what cannot be kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from insula.audit import AuditLog
from insula.kernel.errors import InvalidRequest
from insula.storage import SqlHeads

Open = Callable[[], AuditLog]


def add(log: AuditLog, **details: Any) -> int:
    return log.append(
        "acme", "run.refused", outcome="refused", actor="agent/a", target="run_1", **details
    ).seq


def test_records_come_back_in_order_and_in_pages(log: AuditLog) -> None:
    for number in range(7):
        assert add(log, number=number) == number + 1
    first, rest = log.read("acme", 0, 3), log.read("acme", 3, 100)
    assert [record.details["number"] for record in (*first, *rest)] == list(range(7))
    assert first[0].at.endswith("Z") and first[0].outcome == "refused"
    assert log.read("beta") == [] and log.verify("beta").ok


def test_a_restart_goes_on_with_the_chain(log: AuditLog, reopen: Open) -> None:
    add(log)
    assert add(reopen()) == 2
    assert add(log) == 3, "the first notices that the file has grown"
    assert reopen().verify("acme").ok


def test_concurrent_appends_take_turns(log: AuditLog) -> None:
    def work() -> None:
        for _ in range(25):
            add(log, durable=False)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = log.verify("acme")
    assert report.ok and report.records == 200
    assert [record.seq for record in log.read("acme", 0, 1000)] == list(range(1, 201))


@pytest.mark.parametrize("torn", [b"{", b'{"seq":3,"at":"20', b"\0" * 100, b"x" * 70_000])
def test_a_torn_tail_is_cut_and_the_cut_is_recorded(
    log: AuditLog, path: Path, reopen: Open, torn: bytes
) -> None:
    add(log)
    add(log)
    with path.open("ab") as file:
        file.write(torn)
    assert not log.verify("acme").ok, "until the repair it shows"
    again = reopen()
    assert add(again) == 4
    (repair,) = [record for record in again.read("acme") if record.action == "audit.repaired"]
    assert (repair.seq, repair.details["bytes"], repair.details["after"]) == (3, len(torn), 2)
    assert again.verify("acme").ok


def test_a_whole_record_torn_by_hand_is_no_crash_and_is_not_repaired(
    log: AuditLog, path: Path, reopen: Open
) -> None:
    """What was anchored cannot be torn by a crash, so tearing it off must not be laundered into a repair."""
    add(log)
    add(log)
    path.write_bytes(path.read_bytes()[:-10])
    again = reopen()
    add(again)
    assert not again.verify("acme").ok
    assert all(record.action != "audit.repaired" for record in again.read("acme"))


def test_a_crash_between_line_and_anchor_is_no_tampering(
    log: AuditLog, heads: SqlHeads, reopen: Open
) -> None:
    add(log)
    anchored = heads.get("acme")
    add(log)
    assert anchored is not None
    heads.put("acme", *anchored)  # as if the second anchor had never been written
    again = reopen()
    assert again.verify("acme").ok and add(again) == 3 and again.verify("acme").ok


def test_a_cheap_append_is_on_file_at_once_and_anchored_soon(
    log: AuditLog, heads: SqlHeads, path: Path
) -> None:
    add(log, durable=False)
    assert path.read_bytes().endswith(b"\n") and heads.get("acme") is None
    log.flush()
    head = heads.get("acme")
    assert head is not None and head[0] == 1


def test_cheap_appends_are_anchored_by_themselves(log: AuditLog, heads: SqlHeads) -> None:
    anchored = threading.Event()
    put = heads.put

    def watch(chain: str, seq: int, digest: str) -> None:
        put(chain, seq, digest)
        anchored.set()

    heads.put = watch  # type: ignore[method-assign]
    add(log, durable=False)
    assert anchored.wait(20)


@pytest.mark.parametrize("stream", ["", "..", "a/b", "A", "a.b", "x" * 49, "../control", "a\0", None])
def test_a_stream_has_the_shape_of_a_tenant_id(log: AuditLog, stream: str) -> None:
    for use in (log.verify, log.read, lambda s: log.append(s, "a", outcome="ok", actor="b")):
        with pytest.raises(InvalidRequest) as refused:
            use(stream)
        assert refused.value.field == "stream"


@pytest.mark.parametrize(
    "detail", [object(), b"bytes", float("nan"), float("inf"), {1, 2}, "x" * 70_000, {1: 2}, (1, 2), "\ud800"]
)
def test_details_that_cannot_be_kept_are_refused_and_leave_the_chain_whole(
    log: AuditLog, detail: Any
) -> None:
    add(log)
    try:
        add(log, detail=detail)
    except InvalidRequest as refused:
        assert refused.field == "details"
    assert add(log) >= 2
    report = log.verify("acme")
    assert report.ok, report


def test_files_are_private_and_links_are_not_followed(log: AuditLog, path: Path, tmp_path: Path) -> None:
    add(log)
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    target = tmp_path / "elsewhere"
    path.with_name("beta.jsonl").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        log.append("beta", "x", outcome="ok", actor="y")
    assert not target.exists()


CHILD = """
import sys
from pathlib import Path
from insula.audit import AuditLog
from insula.kernel.clock import SystemClock
from insula.storage import ControlDatabase, SqlHeads
home = Path(sys.argv[1])
log = AuditLog(home / "audit", b"a" * 32, SqlHeads(ControlDatabase(home / "control.db")), SystemClock())
while True:
    print(log.append("acme", "x", outcome="ok", actor="y", durable=sys.argv[2] == "durable").seq, flush=True)
"""


@pytest.mark.parametrize("how", ["durable", "cheap"])
def test_every_acknowledged_record_survives_a_kill(tmp_path: Path, reopen: Open, how: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), how], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 20:
            os.kill(child.pid, signal.SIGKILL)
            break
    told = [int(line) for line in child.stdout if line.endswith("\n")]
    child.stdout.close()
    child.wait()
    log = reopen()
    last = add(log)
    report = log.verify("acme")
    assert report.ok and report.records >= max([20, *told]) and last == report.records
