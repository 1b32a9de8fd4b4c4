"""The control database keeps what it was told, and its writers queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select, text, update

from insula.storage import ControlDatabase, SqlHeads

METADATA = MetaData()
ROWS = Table("rows", METADATA, Column("n", Integer))


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlDatabase]:
    database = ControlDatabase(tmp_path / "home" / "control.db")
    database.create(METADATA)
    yield database
    database.close()


def count(control: ControlDatabase) -> int:
    with control.read() as connection:
        return connection.execute(select(func.count()).select_from(ROWS)).scalar_one()


def test_it_is_private_and_set_for_durability(control: ControlDatabase) -> None:
    with control.begin() as connection:
        connection.execute(insert(ROWS).values(n=1))
    assert {file.stat().st_mode & 0o777 for file in control.path.parent.iterdir()} == {0o600}
    assert control.path.parent.stat().st_mode & 0o777 == 0o700
    with control.read() as connection:
        found = [
            connection.execute(text(f"pragma {name}")).scalar() for name in ("journal_mode", "synchronous")
        ]
        assert found == ["wal", 2]
        assert connection.execute(text("pragma foreign_keys")).scalar() == 1


def test_a_url_and_a_path_mean_the_same_file(control: ControlDatabase) -> None:
    with control.begin() as connection:
        connection.execute(insert(ROWS).values(n=1))
    again = ControlDatabase(f"sqlite:///{control.path}")
    assert count(again) == 1
    again.close()


def test_a_failed_transaction_leaves_nothing_not_even_tables(control: ControlDatabase) -> None:
    with pytest.raises(ZeroDivisionError), control.begin() as connection:
        connection.execute(insert(ROWS).values(n=1))
        connection.execute(text("create table extra (n integer)"))
        _ = 1 / 0
    assert count(control) == 0
    with control.read() as connection:
        assert connection.execute(text("select count(*) from sqlite_master where name='extra'")).scalar() == 0


def test_columns_that_an_older_file_lacks_are_added(control: ControlDatabase) -> None:
    with control.begin() as connection:
        connection.execute(insert(ROWS).values(n=1))
    newer = MetaData()
    rows = Table("rows", newer, Column("n", Integer), Column("note", String), Column("more", Integer))
    for _ in range(2):
        control.create(newer)
    with control.begin() as connection:
        connection.execute(insert(rows).values(n=2, note="new", more=3))
    with control.read() as connection:
        found = connection.execute(select(rows).order_by(rows.c.n)).all()
    assert [tuple(row) for row in found] == [(1, None, None), (2, "new", 3)]


def test_readers_see_one_snapshot_and_do_not_wait(control: ControlDatabase) -> None:
    with control.begin() as writer:
        writer.execute(insert(ROWS).values(n=1))
        assert count(control) == 0
    assert count(control) == 1


def test_writers_queue_and_lose_no_update(control: ControlDatabase) -> None:
    with control.begin() as connection:
        connection.execute(insert(ROWS).values(n=0))

    def work() -> None:
        for _ in range(10):
            with control.begin() as connection:
                n = connection.execute(select(ROWS.c.n)).scalar_one()
                connection.execute(update(ROWS).values(n=n + 1))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with control.read() as connection:
        assert connection.execute(select(ROWS.c.n)).scalar_one() == 60


def test_a_write_inside_a_write_is_a_programming_error_not_a_deadlock(control: ControlDatabase) -> None:
    with control.begin(), pytest.raises(AssertionError), control.begin():
        pass
    with control.begin() as connection:
        connection.execute(insert(ROWS).values(n=1))


def test_heads_are_kept_and_replaced(control: ControlDatabase) -> None:
    heads = SqlHeads(control)
    assert heads.get("acme") is None and heads.chains() == ()
    heads.put("acme", 1, "aa")
    heads.put("acme", 2, "bb")
    heads.put("beta", 1, "cc")
    assert SqlHeads(control).get("acme") == (2, "bb") and heads.chains() == ("acme", "beta")


CHILD = """
import sys
from insula.storage import ControlDatabase, SqlHeads
heads, seq = SqlHeads(ControlDatabase(sys.argv[1])), 0
while True:
    seq += 1
    heads.put("acme", seq, str(seq))
    print(seq, flush=True)
"""


def test_what_was_committed_survives_a_kill(control: ControlDatabase) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(control.path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 20:
            os.kill(child.pid, signal.SIGKILL)
            break
    child.stdout.close()
    child.wait()
    head = SqlHeads(control).get("acme")
    assert head is not None and head[0] >= 20 and head[1] == str(head[0])
