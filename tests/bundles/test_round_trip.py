"""Packing and inspecting an honest directory."""

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from insula.bundles import Bundle, inspect, pack

MANIFEST = b'name = "a"\nentrypoint = "python main.py"\n'
PART = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=30)
PATHS = st.lists(PART, min_size=1, max_size=4).map("/".join)
TREES = st.dictionaries(PATHS, st.binary(max_size=2000), max_size=8)


def lay(root: Path, tree: dict[str, bytes]) -> dict[str, bytes]:
    """Write what of ``tree`` can be there at once; return what was written."""
    written = {}
    for name, data in {**tree, "agent.toml": MANIFEST, "main.py": b"print(1)"}.items():
        try:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        except OSError:  # a file where a folder would be, or a name too long for the disk
            continue
        written[name] = data
    return written


def unpacked(root: Path) -> Bundle:
    return inspect(pack(root))


@settings(deadline=None, max_examples=60)
@given(TREES)
def test_every_file_comes_back(tmp_path_factory, tree: dict[str, bytes]) -> None:  # type: ignore[no-untyped-def]
    root = tmp_path_factory.mktemp("agent")
    written = lay(root, tree)
    bundle = unpacked(root)
    assert {file.path: file.data for file in bundle.files} == written
    assert [file.path for file in bundle.files] == sorted(written)


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for root, names in ((first, ["b/c.py", "a.py"]), (second, ["a.py", "b/c.py"])):
        root.mkdir()
        lay(root, {name: name.encode() for name in names})
    os.utime(second / "a.py", (1, 1))
    assert pack(first) == pack(second)
    assert unpacked(first).digest == unpacked(second).digest


def test_content_path_and_the_executable_bit_change_the_digest(tmp_path: Path) -> None:
    lay(tmp_path, {"tool": b"x"})
    digests = [unpacked(tmp_path).digest]
    (tmp_path / "tool").chmod(0o700)
    digests.append(unpacked(tmp_path).digest)
    (tmp_path / "tool").write_bytes(b"y")
    digests.append(unpacked(tmp_path).digest)
    (tmp_path / "tool").rename(tmp_path / "tools")
    digests.append(unpacked(tmp_path).digest)
    assert len(set(digests)) == 4
    modes = {file.path: file.mode for file in unpacked(tmp_path).files}
    assert modes["tools"] == 0o755
    assert modes["main.py"] == 0o644


def test_caches_histories_and_secret_files_stay_at_home(tmp_path: Path) -> None:
    lay(tmp_path, {".git/config": b"", ".env": b"KEY=1", "__pycache__/main.pyc": b"", "lib/x.pyc": b""})
    assert [file.path for file in unpacked(tmp_path).files] == ["agent.toml", "main.py"]


def test_a_folder_packed_by_gnu_tar_is_as_good(tmp_path: Path) -> None:
    import subprocess

    long_name = "d" * 60 + "/" + "e" * 60 + "/" + "f" * 60
    lay(tmp_path, {long_name: b"far", "ünïcode.txt": b"x"})
    for form in ("gnu", "pax", "ustar"):
        packed = subprocess.run(
            ["tar", "-C", tmp_path, f"--format={form}", "-czf", "-", "."], capture_output=True, check=True
        ).stdout
        assert inspect(packed).digest == unpacked(tmp_path).digest, form
