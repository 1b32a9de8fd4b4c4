"""Builds the bare tree: one Python, the libraries it needs, and next to nothing else.

No package manager, no compiler, no set-uid file, no home folders. ``/bin/sh`` is the host's ``dash``
where there is one (so ``os.system`` works), and the only program besides Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from insula.runtimes import libraries
from insula.runtimes.interpreter import Interpreter

_LEFT_OUT = (
    "__pycache__", "site-packages", "dist-packages", "config-*", "test", "tests", "idlelib", "tkinter",
    "turtledemo", "turtle.py", "ensurepip", "lib2to3", "pydoc_data", "sitecustomize.py", "EXTERNALLY-MANAGED",
    "_tkinter.*", "_test*", "_xxtestfuzz.*", "_xxsubinterpreters.*", "_ctypes_test.*", "xxlimited*",
    "_curses*", "readline.*", "_dbm.*", "_gdbm.*", "nis.*", "ossaudiodev.*", "*.a",
)  # fmt: skip
_MOUNTPOINTS = ("proc", "dev", "sys", "tmp", "var/tmp", "work", "agent", "run/insula/agent")
_DLOPENED = ("libgcc_s.so.1",)  # opened by name when a thread ends: no file's header asks for it
_ETC = {
    "passwd": "root:x:0:0:root:/:/usr/sbin/nologin\nagent:x:65534:65534:agent:/work:/bin/sh\n",
    "group": "root:x:0:\nagent:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "",
    "ld.so.conf": "/usr/lib\n",
    "os-release": 'ID=insula\nNAME="Insula runtime"\n',
}


def build(interpreter: Interpreter, root: Path) -> None:
    """Lay a bare runtime into the empty folder ``root``."""
    _folders(root)
    for name, text in _ETC.items():
        (root / "etc" / name).write_text(text)
    _python(interpreter, root)
    _shell(root)
    _certificates(interpreter, root)
    _time_zones(root)
    add_libraries(interpreter, root, [root / "usr/bin", root / "usr/lib" / f"python{interpreter.short}"])


def add_libraries(interpreter: Interpreter, root: Path, places: list[Path]) -> None:
    """Copy into ``root`` what the programs and shared objects below ``places`` need of the host."""
    files = [file for place in places for file in place.rglob("*") if file.is_file() and _is_elf(file)]
    loader = libraries.loader_of(interpreter.binary)
    wanted = libraries.needed(loader, files, inside=root)
    beside = wanted["libc.so.6"].parent
    wanted |= {name: beside / name for name in _DLOPENED if (beside / name).is_file()}
    for name, path in wanted.items():
        _copy(path, root / "usr/lib" / name)
    _copy(loader, root / str(loader).lstrip("/"))
    _index_libraries(root)


def _index_libraries(root: Path) -> None:
    """Write ``ld.so.cache``, which spares the loader a search at every start. Without ``ldconfig``: none."""
    ldconfig = shutil.which("ldconfig", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if ldconfig:
        subprocess.run([ldconfig, "-X", "-r", str(root)], check=False, capture_output=True, timeout=60)  # noqa: S603


def _folders(root: Path) -> None:
    for folder in ("usr/bin", "usr/lib", "usr/lib64", "usr/sbin", "etc", *_MOUNTPOINTS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "run/insula/door.sock").touch()


def _python(interpreter: Interpreter, root: Path) -> None:
    name = f"python{interpreter.short}"
    _copy(interpreter.binary, root / "usr/bin" / name)
    for alias in ("python", "python3"):
        (root / "usr/bin" / alias).symlink_to(name)
    shutil.copytree(
        interpreter.stdlib, root / "usr/lib" / name, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=False
    )
    (root / interpreter.packages).mkdir(parents=True, exist_ok=True)


def _shell(root: Path) -> None:
    dash = Path("/bin/dash")
    if dash.is_file():
        _copy(dash, root / "usr/bin/sh")


def _certificates(interpreter: Interpreter, root: Path) -> None:
    """The host's certificate bundle, where this Python's OpenSSL looks for it."""
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True)
    host = Path("/etc/ssl/certs/ca-certificates.crt")
    if host.is_file():
        _copy(host, bundle)
    else:
        bundle.touch()
    expected = root / interpreter.ca_file.lstrip("/")
    if expected != bundle:
        expected.parent.mkdir(parents=True, exist_ok=True)
        expected.symlink_to("/etc/ssl/certs/ca-certificates.crt")
        (expected.parent / "openssl.cnf").touch()


def _time_zones(root: Path) -> None:
    host = Path("/usr/share/zoneinfo")
    if host.is_dir():
        ignored = shutil.ignore_patterns("right", "posix", "*.list", "*.zi")
        shutil.copytree(host, root / "usr/share/zoneinfo", ignore=ignored, symlinks=True)


def _is_elf(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == b"\x7fELF"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(source.resolve(), target)
        target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
