"""Archives made to do harm, and directories that hold what must not travel: each refused by name."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insula.bundles import BundleBounds, inspect, pack
from insula.kernel.errors import InsulaError, InvalidRequest, TooLarge

MANIFEST = b'name = "a"\nentrypoint = "python main.py"\n'
SMALL = BundleBounds(
    packed_bytes=300_000,
    bytes=200_000,
    file_bytes=100_000,
    entries=20,
    depth=4,
    path_bytes=60,
    ratio_from=50_000,
)


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **extra: object) -> tuple:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.type = kind
    for key, value in extra.items():
        setattr(info, key, value)
    return info, data


def archive(*members: tuple, honest: bool = True, form: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    start = (member("agent.toml", MANIFEST), member("main.py", b"pass")) if honest else ()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, data in (*start, *members):
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue())


def raw(header_change: dict[int, bytes], data: bytes = b"") -> bytes:
    """An archive whose only header has some bytes replaced and its checksum made right again."""
    header = bytearray(tarfile.TarInfo("main.py").tobuf(tarfile.USTAR_FORMAT))
    for place, value in header_change.items():
        header[place : place + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return gzip.compress(bytes(header) + data + bytes(1024))


def refused(packed: bytes, kind: type[InsulaError] = InvalidRequest) -> InsulaError:
    with pytest.raises(kind) as caught:
        inspect(packed, SMALL)
    assert caught.value.hint
    assert caught.value.field
    return caught.value


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "character device"),
        (tarfile.BLKTYPE, "block device"),
        (tarfile.FIFOTYPE, "named pipe"),
        (tarfile.CONTTYPE, "contiguous"),
        (tarfile.GNUTYPE_SPARSE, "sparse"),
        (b"Z", "unknown kind"),
    ],
)
def test_anything_but_files_and_folders(kind: bytes, word: str) -> None:
    error = refused(archive(member("evil", kind=kind, linkname="/etc/passwd")))
    assert "'evil'" in error.message
    assert word in error.message


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../up",
        "a/../../up",
        "a/..",
        "a//b",
        "a/./b",
        "new\nline",
        "tab\t",
        "back\x08",
        "\u202e",
    ],
)
def test_paths_that_are_not_plain(name: str) -> None:
    error = refused(archive(member(name, b"x")))
    assert repr(name)[1:8] in error.message


def test_a_nul_inside_a_long_name() -> None:
    refused(archive(member("evil", b"x", pax_headers={"path": "main.py\0/../../x"}), form=tarfile.PAX_FORMAT))


def test_a_name_that_is_not_utf8() -> None:
    assert "UTF-8" in refused(raw({0: b"\xff\xfe\xff\xfe"})).message


def test_the_same_path_twice_and_a_file_that_is_also_a_folder() -> None:
    assert "more than once" in refused(archive(member("main.py", b"other"))).message
    assert "more than once" in refused(archive(member("./main.py", b"other"))).message
    assert "is a file" in refused(archive(member("main.py/below", b"x"))).message
    assert "more than once" in refused(archive(member("x/y", b""), member("x", b""))).message


def test_bounds_on_entries_depth_length_and_bytes() -> None:
    refused(archive(*[member(f"f{i}", b"") for i in range(19)]), TooLarge)
    refused(archive(*[member(f"d{i}", kind=tarfile.DIRTYPE) for i in range(19)]), TooLarge)
    assert "deeper" in refused(archive(member("a/b/c/d/e", b""))).message
    assert "longer" in refused(archive(member("n" * 61, b""))).message
    noise = os.urandom(70_000)
    assert "'big'" in refused(archive(member("big", noise * 2)), TooLarge).message
    refused(archive(*[member(f"f{i}", noise[i:]) for i in range(3)]), TooLarge)


def test_a_bound_on_what_is_sent() -> None:
    assert "more than 300000" in refused(os.urandom(300_001), TooLarge).message


def test_a_bomb_is_stopped_early() -> None:
    assert "bomb" in refused(archive(member("zeros", bytes(90_000))), TooLarge).message
    nested = gzip.compress(bytes(300_000_000), compresslevel=1)
    with pytest.raises(TooLarge):
        inspect(nested)


@pytest.mark.parametrize(
    "packed",
    [b"", b"PK\3\4", b"\x1f\x8b", gzip.compress(b""), gzip.compress(b"x" * 511), gzip.compress(bytes(511))],
)
def test_what_is_no_archive(packed: bytes) -> None:
    refused(packed)


def test_damage_is_never_taken_for_the_end() -> None:
    whole = gzip.decompress(archive())
    refused(gzip.compress(whole[:1600]))
    refused(gzip.compress(whole[:1024] + b"garbage!" * 64 + whole[1536:]))
    refused(gzip.compress(whole + whole))
    refused(archive() + b"behind")
    refused(archive() + archive())
    refused(archive()[:-20])


@pytest.mark.parametrize(
    "change",
    [
        {124: b"\xff" * 12},  # a negative size
        {124: b"77777777777\0"},
        {124: b"-0000000001\0"},
        {124: b"9999\0\0\0\0\0\0\0\0"},
        {156: b"L", 124: b"77777777777\0"},
    ],
)
def test_numbers_made_to_confuse(change: dict[int, bytes]) -> None:
    refused(raw(change))


@pytest.mark.parametrize("key", ["GNU.sparse.major", "GNU.sparse.name", "size", "linkpath"])
def test_extended_headers_that_change_what_an_entry_is(key: str) -> None:
    refused(archive(member("evil", b"x", pax_headers={key: "1"}), form=tarfile.PAX_FORMAT))


@pytest.mark.parametrize(
    "record", [b"5 a\n", b"999 path=x\n", b"x path=y\n", b"0 path=x\n", b"9999999999 a=b\n"]
)
def test_malformed_extended_headers(record: bytes) -> None:
    refused(archive(member("h", record, kind=tarfile.XHDTYPE), member("f", b"")))


def test_a_long_name_with_nothing_behind_it() -> None:
    refused(archive(member("././@LongLink", b"name\0", kind=tarfile.GNUTYPE_LONGNAME)))


def test_a_bundle_needs_its_manifest_and_its_script() -> None:
    assert refused(archive(member("main.py", b""), honest=False)).field == "agent.toml"
    assert refused(archive(member("agent.toml", MANIFEST), honest=False)).field == "entrypoint"


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2047), st.binary(min_size=1, max_size=12))
def test_any_damage_gives_the_same_bundle_or_a_typed_refusal(at: int, noise: bytes) -> None:
    whole = bytearray(gzip.decompress(archive()))
    whole[at : at + len(noise)] = noise
    try:
        inspect(gzip.compress(bytes(whole)), SMALL)
    except InsulaError as error:
        assert error.hint


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000))
def test_noise_is_refused(noise: bytes) -> None:
    for packed in (noise, gzip.compress(noise)):
        with pytest.raises(InsulaError):
            inspect(packed, SMALL)


# -- directories ------------------------------------------------------------------------------------


@pytest.fixture
def agent_dir(tmp_path: Path) -> Path:
    (tmp_path / "agent.toml").write_bytes(MANIFEST)
    (tmp_path / "main.py").write_text("pass")
    pack(tmp_path)  # honest so far
    return tmp_path


def not_packed(directory: Path, kind: type[InsulaError] = InvalidRequest) -> InsulaError:
    with pytest.raises(kind) as caught:
        pack(directory, SMALL)
    assert caught.value.hint
    return caught.value


def test_links_pipes_and_sockets_do_not_travel(agent_dir: Path) -> None:
    (agent_dir / "link").symlink_to("/etc/passwd")
    assert "'link' is a symbolic link" in not_packed(agent_dir).message
    (agent_dir / "link").unlink()
    (agent_dir / "folder").symlink_to("/etc")
    not_packed(agent_dir)
    (agent_dir / "folder").unlink()
    os.mkfifo(agent_dir / "pipe")
    assert "'pipe'" in not_packed(agent_dir).message


def test_too_much_is_said_before_it_is_read(agent_dir: Path) -> None:
    with (agent_dir / "huge").open("wb") as file:
        file.truncate(1 << 40)
    not_packed(agent_dir, TooLarge)


def test_not_a_directory(tmp_path: Path) -> None:
    assert not_packed(tmp_path / "none").field == "directory"
