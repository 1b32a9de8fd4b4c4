"""The bare runtime: what is in it, what is not, and that it is sealed."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from insula.kernel.errors import InsulaError, InvalidRequest, Misconfigured, NotFound
from insula.runtimes import Runtime, RuntimeStore

IMPORTS = "ssl, sqlite3, ctypes, zoneinfo, bz2, lzma, hashlib, asyncio, multiprocessing, uuid, decimal, json"


def everything(runtime: Runtime) -> list[Path]:
    return [runtime.rootfs, *runtime.rootfs.rglob("*")]


def test_nothing_is_writable_or_privileged(bare: Runtime) -> None:
    for path in everything(bare):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            assert not mode & 0o7222, path
            assert mode & 0o444 == 0o444, path


def test_every_link_stays_inside(bare: Runtime) -> None:
    for path in everything(bare):
        if path.is_symlink():
            target = path.readlink()
            inside = bare.rootfs / str(target).lstrip("/") if target.is_absolute() else path.parent / target
            assert os.path.realpath(inside).startswith(str(bare.rootfs)), path


def test_the_only_programs_are_python_and_a_shell(bare: Runtime) -> None:
    names = {path.name for path in (bare.rootfs / "usr/bin").iterdir()}
    assert names - {"sh"} == {"python", "python3", f"python{bare.python.rpartition('.')[0]}"}
    assert not list((bare.rootfs / "usr/sbin").iterdir())


def test_mountpoints_are_there(bare: Runtime) -> None:
    for name in ("proc", "dev", "tmp", "work", "agent", "run/insula/agent"):
        assert (bare.rootfs / name).is_dir()
    assert (bare.rootfs / "run/insula/door.sock").is_file()


def test_content_addressed_and_checked(store: RuntimeStore, bare: Runtime) -> None:
    assert bare.rootfs.name == bare.digest
    assert store.verify("python")
    assert store.get("python") == bare
    assert bare in store.list()
    victim = bare.rootfs / "etc/hosts"
    honest = victim.read_bytes()
    victim.chmod(0o644)
    victim.write_bytes(honest + b"6.6.6.6 elsewhere\n")
    assert not store.verify("python")
    victim.write_bytes(honest)
    victim.chmod(0o444)
    assert store.verify("python")


def test_a_second_platform_shares_the_tree(tmp_path: Path, cache: Path, bare: Runtime) -> None:
    (again,) = RuntimeStore(tmp_path / "runtimes", cache).ensure_shipped(["python"])
    assert again == bare


def test_building_anew_gives_the_same_content(store: RuntimeStore, bare: Runtime) -> None:
    assert store.build("copy").digest == bare.digest


def test_an_unknown_runtime_says_how_to_build_it(store: RuntimeStore) -> None:
    with pytest.raises(NotFound) as refused:
        store.get("none")
    assert "insula runtime build none" in refused.value.hint
    with pytest.raises(InvalidRequest):
        store.get("../python")


def test_a_cache_that_others_may_write_is_refused(tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    loose.chmod(0o777)
    with pytest.raises(Misconfigured) as refused:
        RuntimeStore(tmp_path / "runtimes", loose).build("python")
    assert "chmod" in refused.value.hint


def test_requirements_that_cannot_be_met(store: RuntimeStore, cache: Path, bare: Runtime) -> None:
    with pytest.raises(InsulaError) as refused:
        store.build("broken", "idna==0.0.0.1")
    assert refused.value.field == "requirements"
    assert "idna" in refused.value.message
    with pytest.raises(NotFound):
        store.get("broken")
    assert not list(cache.glob(".build-*"))


def inside(runtime: Runtime, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run ``argv`` in the runtime as an unprivileged user without network."""
    wall = [
        "bwrap", "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--clearenv",
        "--setenv", "PATH", "/usr/bin", "--setenv", "HOME", "/work", "--ro-bind", str(runtime.rootfs), "/",
        "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/work", "--chdir", "/work",
    ]  # fmt: skip
    return subprocess.run([*wall, *argv], capture_output=True, text=True, timeout=60)


@pytest.mark.root
def test_python_works_inside(bare: Runtime) -> None:
    code = (
        f"import json, os, sys, {IMPORTS}; import socket; from zoneinfo import ZoneInfo\n"
        "trusted = ssl.create_default_context().cert_store_stats()['x509_ca']\n"
        "print(json.dumps([sys.version_info[:2], sys.prefix, os.system('exit 3') >> 8,"
        " str(ZoneInfo('Asia/Tokyo')), socket.gethostbyname('localhost'), trusted > 0]))"
    )
    done = inside(bare, "python", "-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr
    version, prefix, status, zone, host, certificates = json.loads(done.stdout)
    assert ".".join(map(str, version)) == bare.python.rpartition(".")[0]
    assert (prefix, status, zone, host, certificates) == ("/usr", 3, "Asia/Tokyo", "127.0.0.1", True)


@pytest.mark.root
def test_modules_are_compiled_already(bare: Runtime) -> None:
    code = "import json, sys; json.__spec__; print(json.__cached__); open(json.__cached__).close()"
    assert inside(bare, "python", "-c", code).returncode == 0
    assert inside(bare, "python", "-c", "open('/usr/lib/x', 'w')").stderr.strip().endswith("'/usr/lib/x'")


@pytest.mark.root
@pytest.mark.slow
def test_the_openai_sdk_works_inside(store: RuntimeStore, bare: Runtime) -> None:
    made = {runtime.name: runtime for runtime in store.ensure_shipped()}["openai"]
    assert any(package.startswith("openai==") for package in made.packages)
    done = inside(
        made, "python", "-c", f"import openai, {IMPORTS}; print(openai.OpenAI(api_key='x').base_url)"
    )
    assert done.returncode == 0, done.stderr
    assert store.verify("openai")
    assert store.verify("python")
    shared = made.rootfs / "usr/lib/libc.so.6"
    assert shared.stat().st_ino == (bare.rootfs / "usr/lib/libc.so.6").stat().st_ino
