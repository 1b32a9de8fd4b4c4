"""The keyring: random keys, wrapped at rest, and gone for good after a shred."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from insula.kernel.errors import AlreadyExists, IsolationBreach, Misconfigured, NotFound
from insula.kernel.ids import TenantId
from insula.storage import SealedFile, SealedFileUnreadable
from insula.vault import Barrier, Keyring, TenantSpaces, Unsealable
from insula.vault.adapters.keyfile import KeyFile
from insula.vault.keyring import fingerprint

if TYPE_CHECKING:
    from conftest import House

ACME, BETA = TenantId("acme"), TenantId("beta")


def wrapped(house: House, tenant: TenantId) -> bytes:
    found = house.keyring._file.get(tenant)
    assert found is not None
    return found


def test_keys_are_random_stable_and_one_per_tenant(house: House, barrier: Barrier, tmp_path: Path) -> None:
    acme, beta = house.keyring.dek(ACME), house.keyring.dek(BETA)
    assert len(acme) == len(beta) == 32 and acme != beta
    house.keyring.close()
    again = Keyring(house.home / "keys.db", barrier)
    assert again.dek(ACME) == acme
    elsewhere = Keyring(tmp_path / "other.db", barrier)
    elsewhere.create(ACME)
    assert elsewhere.dek(ACME) != acme, "not derived from anything that could be derived again"


def test_keys_lie_wrapped(house: House) -> None:
    stored = house.bytes_of("keys.db")
    assert wrapped(house, ACME) in stored, "the search below can find something"
    for key in (house.keyring.dek(ACME), house.keyring.dek(BETA)):
        assert key not in stored and key.hex().encode() not in stored


def test_a_wrapped_key_moved_to_another_tenant_does_not_open(house: House, barrier: Barrier) -> None:
    stolen = wrapped(house, ACME)
    house.keyring.close()
    with apsw.Connection(str(house.home / "keys.db")) as connection:
        connection.execute("update wrapped_keys set wrapped = ? where name = 'beta'", (stolen,))
    with pytest.raises(Unsealable):
        Keyring(house.home / "keys.db", barrier).dek(BETA)


def test_a_wrong_root_key_is_told_at_the_start(house: House) -> None:
    house.keyring.close()
    with pytest.raises(Misconfigured) as refused:
        Keyring(house.home / "keys.db", Barrier(b"x" * 32))
    assert refused.value.field == "root_key" and "backup" in refused.value.hint


def test_a_shredded_key_is_in_no_file_any_more(house: House) -> None:
    gone, key = wrapped(house, ACME), house.keyring.dek(ACME)
    assert gone in house.bytes_of("keys.db")
    house.clock.advance(7)
    receipt = house.keyring.shred(ACME)
    after = house.bytes_of("keys.db")
    # not even a fragment of 8 bytes of the ciphertext is left
    assert not [at for at in range(len(gone) - 8) if gone[at : at + 8] in after]
    assert (receipt.tenant, receipt.key_fingerprint, receipt.at) == (
        "acme",
        fingerprint(key),
        house.clock.now(),
    )
    assert house.keyring.dek(BETA), "the neighbour keeps its key"


def test_without_secure_delete_the_proof_fails(house: House) -> None:
    """The control of the case above: the proof looks at real bytes and can say no."""
    house.keyring._file._connection.execute("pragma secure_delete=off")
    with pytest.raises(IsolationBreach):
        house.keyring.shred(ACME)


def test_a_shredded_tenant_has_no_key_and_never_gets_another(house: House, barrier: Barrier) -> None:
    first = house.keyring.shred(ACME)
    house.clock.advance(60)
    assert house.keyring.shred(ACME) == first
    house.keyring.close()
    again = Keyring(house.home / "keys.db", barrier)
    for view in (again,):
        with pytest.raises(NotFound):
            view.dek(ACME)
        with pytest.raises(AlreadyExists):
            view.create(ACME)
        assert view.shredded() == [ACME] and view.shred(ACME) == first


def test_a_key_that_never_was_cannot_be_shredded_or_had(house: House) -> None:
    for use in (house.keyring.dek, house.keyring.shred):
        with pytest.raises(NotFound):
            use(TenantId("nobody"))
    with pytest.raises(AlreadyExists):
        house.keyring.create(ACME)


def test_a_key_that_does_not_open_can_still_be_shredded(house: House) -> None:
    house.keyring._open.clear()
    house.keyring._file._connection.execute("update wrapped_keys set wrapped = x'0102' where name = 'acme'")
    assert house.keyring.shred(ACME).key_fingerprint == "unreadable"


def test_after_a_shred_a_backup_of_the_file_is_unreadable(house: House) -> None:
    space = house.spaces.open(house.context("acme"))
    space.execute("create table t (x)")
    space.execute("insert into t values ('canary')")
    space.close()
    backup = house.home / "backup.db"
    shutil.copy(house.home / "tenants" / "acme" / "space.db", backup)
    control = SealedFile.open(backup, house.keyring.dek(ACME), "tenant/acme")
    assert control.execute("select x from t") == [("canary",)]
    control.close()
    house.spaces.destroy(ACME)
    with pytest.raises(NotFound):
        house.keyring.dek(ACME)
    for key in (house.keyring.dek(BETA), bytes(32), bytes(range(32))):
        with pytest.raises(SealedFileUnreadable):
            SealedFile.open(backup, key, "tenant/acme")
    assert b"canary" not in backup.read_bytes()


def test_a_shred_waits_for_no_reader_it_cannot_prove(house: House) -> None:
    """Another connection that holds the log open keeps old bytes alive: then there is no receipt."""
    reader = apsw.Connection(str(house.home / "keys.db"))
    reader.execute("begin")
    reader.execute("select * from wrapped_keys").fetchall()
    house.keyring._file._connection.set_busy_timeout(50)
    with pytest.raises((IsolationBreach, apsw.BusyError)):
        house.keyring.shred(ACME)
    reader.execute("rollback")
    reader.close()
    assert house.keyring.shred(ACME).key_fingerprint


CHILD = """
import os, sys
from pathlib import Path
from insula.vault import Barrier, Keyring
from insula.vault.adapters.keyfile import KeyFile
KeyFile.scour = lambda self: None
ring = Keyring(Path(sys.argv[1]), Barrier(bytes(range(32))))
KeyFile._scour = lambda self, gone: os.kill(os.getpid(), 9)
ring.shred("acme")
"""


def test_a_shred_cut_by_a_kill_is_finished_at_the_next_start(house: House, barrier: Barrier) -> None:
    gone = wrapped(house, ACME)
    house.keyring.close()
    child = subprocess.run([sys.executable, "-c", CHILD, str(house.home / "keys.db")], check=False)
    assert child.returncode == -signal.SIGKILL
    again = Keyring(house.home / "keys.db", barrier)
    assert again.shredded() == [ACME] and gone not in house.bytes_of("keys.db")
    spaces = TenantSpaces(house.home / "tenants", again)
    assert spaces.destroy(ACME).key.tenant == "acme"


def test_the_key_file_is_private(house: House) -> None:
    modes = {os.stat(path).st_mode & 0o777 for path in house.home.glob("keys.db*")}
    assert modes == {0o600}
    link = house.home / "link.db"
    link.symlink_to(house.home / "keys.db")
    with pytest.raises(OSError, match="symbolic"):
        KeyFile(link)
