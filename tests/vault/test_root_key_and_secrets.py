"""The root key's file, the barrier's seal, and the platform's own secrets."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.kernel.errors import InvalidRequest, Misconfigured, NotFound
from insula.vault import Barrier, PlatformSecrets, SecretText, Unsealable, open_root_key
from insula.vault.adapters.sql import SqlSecretStore

if TYPE_CHECKING:
    from conftest import House

BARRIER = Barrier(bytes(range(32)))


def test_the_key_is_made_once_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "home" / "root.key"
    old = os.umask(0)
    try:
        key = open_root_key(path)
    finally:
        os.umask(old)
    assert len(key) == 32 and open_root_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600 and [file.name for file in path.parent.iterdir()] == [
        "root.key"
    ]


def test_of_many_makers_all_get_the_same_key(tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: keys.append(open_root_key(tmp_path / "root.key"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8 and len(set(keys)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o777, 0o610])
def test_a_key_that_others_can_reach_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "root.key"
    open_root_key(path)
    path.chmod(mode)
    with pytest.raises(Misconfigured) as refused:
        open_root_key(path)
    assert refused.value.hint == f"chmod 600 {path}"
    path.chmod(0o600)
    open_root_key(path)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_size_is_refused_and_left_alone(tmp_path: Path, size: int) -> None:
    path = tmp_path / "root.key"
    path.write_bytes(b"k" * size)
    path.chmod(0o600)
    with pytest.raises(Misconfigured):
        open_root_key(path)
    assert path.read_bytes() == b"k" * size


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "fifo"])
def test_only_a_regular_file_is_a_key(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "root.key", tmp_path / "target"
    if kind == "directory":
        path.mkdir(mode=0o700)
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path.symlink_to(target)
    if kind == "link":
        target.write_bytes(b"k" * 32)
        target.chmod(0o600)
    with pytest.raises(Misconfigured):
        open_root_key(path)
    assert kind == "link" or not target.exists()


def test_a_lost_key_is_not_silently_replaced(tmp_path: Path) -> None:
    (tmp_path / "keys.db").touch()
    with pytest.raises(Misconfigured, match="missing") as refused:
        open_root_key(tmp_path / "root.key", guarded=tmp_path / "keys.db")
    assert "backup" in refused.value.hint and not (tmp_path / "root.key").exists()


@given(st.binary(max_size=40), st.binary(max_size=200))
def test_what_is_sealed_opens_for_its_purpose_and_no_other(aad: bytes, plain: bytes) -> None:
    sealed = BARRIER.seal(aad, plain)
    assert BARRIER.unseal(aad, sealed) == plain and BARRIER.seal(aad, plain) != sealed
    with pytest.raises(Unsealable):
        BARRIER.unseal(aad + b"x", sealed)
    with pytest.raises(Unsealable):
        Barrier(b"x" * 32).unseal(aad, sealed)


@given(st.binary(max_size=50), st.data())
def test_any_changed_byte_is_found(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(BARRIER.seal(b"a", plain))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Unsealable):
        BARRIER.unseal(b"a", bytes(sealed))


@given(st.binary(max_size=60))
def test_noise_does_not_open(noise: bytes) -> None:
    with pytest.raises(Unsealable):
        BARRIER.unseal(b"", noise)


def test_subkeys_differ_by_purpose_and_hide_the_root() -> None:
    assert len({BARRIER.subkey("audit"), BARRIER.subkey("seal"), bytes(range(32))}) == 3
    assert "0001" not in repr(BARRIER) and repr(BARRIER) == "<Barrier ***>"
    with pytest.raises(TypeError):
        pickle.dumps(BARRIER)


@pytest.fixture
def secrets(house: House) -> PlatformSecrets:
    return PlatformSecrets(SqlSecretStore(house.control), BARRIER)


def test_a_secret_comes_back_only_when_revealed(secrets: PlatformSecrets, house: House) -> None:
    secrets.put("endpoint/main", "sk-canary-123")
    found = secrets.get("endpoint/main")
    assert found.reveal() == "sk-canary-123"
    for shown in (repr(found), str(found), f"{found}", f"{[found]}", "%s" % found):  # noqa: UP031
        assert "canary" not in shown
    assert b"canary" not in house.bytes_of("control.db")
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            duplicate(found)


def test_a_secret_can_be_replaced_listed_and_deleted(secrets: PlatformSecrets) -> None:
    secrets.put("b", "1")
    secrets.put("a", "1")
    secrets.put("a", "2")
    assert secrets.get("a").reveal() == "2" and secrets.names() == ["a", "b"]
    secrets.delete("a")
    for use in (secrets.get, secrets.delete):
        with pytest.raises(NotFound):
            use("a")


def test_a_sealed_value_in_anothers_place_does_not_open(secrets: PlatformSecrets, house: House) -> None:
    secrets.put("cheap", "1")
    secrets.put("dear", "2")
    store = SqlSecretStore(house.control)
    store.put("cheap", store.get("dear") or b"")
    with pytest.raises(Unsealable):
        secrets.get("cheap")


@pytest.mark.parametrize(
    ("name", "value"), [("", "v"), ("A", "v"), ("a b", "v"), ("a" * 129, "v"), ("a", ""), ("a", "v" * 65_537)]
)
def test_malformed_names_and_values_are_refused_without_showing_the_value(
    secrets: PlatformSecrets, name: str, value: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        secrets.put(name, value)
    assert refused.value.field in {"name", "value"} and len(str(refused.value)) < 200


def test_secrets_are_not_equal_by_content() -> None:
    assert SecretText("a") != SecretText("a")
