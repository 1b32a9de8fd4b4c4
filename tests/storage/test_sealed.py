"""A sealed file shows nothing, opens for its own key only, and knows whose it is."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import apsw
import pytest

from insula.kernel.errors import IsolationBreach
from insula.storage import SealedFile, SealedFileUnreadable

KEY, OTHER = os.urandom(32), os.urandom(32)
CANARY = "canary-7f3a9c51-do-not-show"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "space.db"


def filled(path: Path, key: bytes = KEY, stamp: str = "tenant/acme") -> SealedFile:
    space = SealedFile.open(path, key, stamp)
    space.execute("create table notes (id integer primary key, body text, data blob)")
    for _ in range(50):
        space.execute("insert into notes (body, data) values (?, ?)", (CANARY, CANARY.encode()))
    return space


def bytes_beside(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.is_file())


def test_rows_and_blobs_come_back_after_closing(path: Path) -> None:
    filled(path).close()
    space = SealedFile.open(path, KEY, "tenant/acme")
    assert space.execute("select count(*), max(body) from notes") == [(50, CANARY)]
    assert space.execute("select data from notes where id = :id", {"id": 7}) == [(CANARY.encode(),)]


def test_nothing_of_it_is_in_the_clear_open_or_closed(path: Path) -> None:
    space = filled(path)
    assert path.with_name("space.db-wal").stat().st_size > 0, "the log exists, so it is searched too"
    for state in (bytes_beside(path), (space.close(), bytes_beside(path))[1]):
        assert state and b"SQLite format" not in state
        for spelling in (
            CANARY.encode(),
            CANARY.encode("utf-16-le"),
            CANARY.encode().hex().encode(),
            b"notes",
        ):
            assert spelling not in state
        assert KEY not in state and KEY.hex().encode() not in state


def test_the_search_would_find_a_canary_in_an_unsealed_file(path: Path) -> None:
    """The control of the case above."""
    clear = apsw.Connection(str(path))
    clear.execute("create table notes (body text)")
    clear.execute("insert into notes values (?)", (CANARY,))
    clear.close()
    assert CANARY.encode() in bytes_beside(path)


def test_a_wrong_key_is_told_from_a_right_one(path: Path) -> None:
    filled(path).close()
    before = path.read_bytes()
    with pytest.raises(SealedFileUnreadable) as refused:
        SealedFile.open(path, OTHER, "tenant/acme")
    assert (
        refused.value.hint and KEY.hex() not in str(refused.value) and OTHER.hex() not in str(refused.value)
    )
    assert path.read_bytes() == before


def test_a_file_in_the_wrong_place_is_a_breach_whatever_the_key(path: Path) -> None:
    filled(path).close()
    for key in (KEY, OTHER):
        with pytest.raises(IsolationBreach):
            SealedFile.open(path, key, "tenant/beta")


def test_swapped_files_are_a_breach_for_both(tmp_path: Path) -> None:
    mine, theirs, aside = tmp_path / "a.db", tmp_path / "b.db", tmp_path / "c"
    filled(mine, KEY, "tenant/acme").close()
    filled(theirs, OTHER, "tenant/beta").close()
    shutil.move(mine, aside)
    shutil.move(theirs, mine)
    shutil.move(aside, theirs)
    with pytest.raises(IsolationBreach):
        SealedFile.open(mine, KEY, "tenant/acme")
    with pytest.raises(IsolationBreach):
        SealedFile.open(theirs, OTHER, "tenant/beta")


def test_the_inner_stamp_holds_when_the_outer_was_forged(path: Path) -> None:
    """With one key for two stamps, only what stands inside can tell."""
    filled(path, KEY, "tenant/beta").close()
    wanted = path.with_name("other.db")
    SealedFile.open(wanted, KEY, "tenant/acme").close()
    data = bytearray(path.read_bytes())
    data[:16] = wanted.read_bytes()[:16]
    path.write_bytes(data)
    with pytest.raises((IsolationBreach, SealedFileUnreadable)):
        SealedFile.open(path, KEY, "tenant/acme").execute("select * from notes")


def test_a_row_that_changes_the_stamp_is_noticed(path: Path) -> None:
    space = filled(path)
    space.execute("update insula_stamp set stamp = 'tenant/beta'")
    space.close()
    with pytest.raises(IsolationBreach):
        SealedFile.open(path, KEY, "tenant/acme")


@pytest.mark.parametrize("at", [16, 100, 4096, 5000, -1])
def test_damage_is_an_error_and_never_other_content(path: Path, at: int) -> None:
    filled(path).close()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(SealedFileUnreadable):
        space = SealedFile.open(path, KEY, "tenant/acme")
        space.execute("select * from notes")
        space.execute("pragma integrity_check")


def test_a_link_is_not_followed(path: Path) -> None:
    filled(path).close()
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        SealedFile.open(link, KEY, "tenant/acme")


def test_the_file_is_private(path: Path) -> None:
    space = filled(path)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    space.close()


def test_a_failed_transaction_leaves_nothing_and_the_next_one_works(path: Path) -> None:
    space = filled(path)
    with pytest.raises(ZeroDivisionError), space.transaction():
        space.execute("delete from notes")
        _ = 1 / 0
    with space.transaction():
        space.execute("insert into notes (body) values ('one more')")
    assert space.execute("select count(*) from notes") == [(51,)]
    with space.transaction(), pytest.raises(AssertionError), space.transaction():
        pass


def test_threads_take_turns(path: Path) -> None:
    space = SealedFile.open(path, KEY, "tenant/acme")
    space.execute("create table counter (n integer)")
    space.execute("insert into counter values (0)")

    def work() -> None:
        for _ in range(20):
            with space.transaction():
                ((n,),) = space.execute("select n from counter")
                space.execute("update counter set n = ?", (n + 1,))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert space.execute("select n from counter") == [(160,)]


def test_a_closed_file_says_so(path: Path) -> None:
    space = filled(path)
    space.close()
    space.close()
    with pytest.raises(SealedFileUnreadable):
        space.execute("select 1")
    assert space.closed and "raw" not in repr(space) and KEY.hex() not in repr(vars(space))


@pytest.mark.parametrize("reach", ["attach", "extension", "vacuum"])
def test_sql_reaches_no_other_file(path: Path, reach: str) -> None:
    """Statements are ours, but a slip in one must not open a neighbour's file or write a clear copy."""
    space = filled(path)
    other = path.with_name("stolen.db")
    statement = {
        "attach": f"attach '{other}' as other",
        "extension": f"select load_extension('{other}')",
        "vacuum": f"vacuum into '{other}'",
    }[reach]
    with pytest.raises(apsw.Error):
        space.execute(statement)
    assert not other.exists()
