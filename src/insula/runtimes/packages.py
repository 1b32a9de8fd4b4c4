"""Installs packages into a tree, and compiles everything there once."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from insula.kernel.errors import InvalidRequest, Misconfigured
from insula.runtimes import tree
from insula.runtimes.interpreter import Interpreter


def install(lines: tuple[str, ...], target: Path) -> None:
    """Install requirements into ``target`` from wheels only: nothing of a package runs on the host.

    Package indexes, proxies and certificates are taken from pip's own configuration. Raises
    ``InvalidRequest`` with pip's last words if the requirements can't be met.
    """
    listed = target.parent / ".requirements.txt"
    listed.write_text("\n".join(lines) + "\n")
    argv = [
        sys.executable, "-m", "pip", "install", "--target", str(target), "--requirement", str(listed),
        "--only-binary", ":all:", "--no-compile", "--no-input", "--disable-pip-version-check",
        "--root-user-action", "ignore", "--progress-bar", "off", "--quiet",
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900)  # noqa: S603
    listed.unlink()
    if done.returncode == 0:
        _prune(target)
        return
    if "No module named pip" in done.stderr:
        raise Misconfigured("this Python has no pip, so no runtime can be built", hint="python -m ensurepip")
    said = done.stderr.splitlines()
    words = [line for line in said if line.startswith("ERROR")] or said
    raise InvalidRequest(
        f"the requirements can't be installed: {' '.join(words[-3:])[:500]}",
        hint="check names and versions; only packages that offer a wheel for this Python can be used",
        field="requirements",
    )


def installed(target: Path) -> tuple[str, ...]:
    """Return ``name==version`` of every package in ``target``, sorted."""
    found = {f"{d.metadata['Name']}=={d.version}" for d in distributions(path=[str(target)])}
    return tuple(sorted(found, key=str.lower))


def compile_all(interpreter: Interpreter, root: Path, folder: str) -> None:
    """Compile every module below ``root/folder``, to be trusted unseen at import (the tree never changes).

    Without this the first import of a large package takes seconds in every sandbox. A file that does not
    compile is left alone: it fails when it is imported, as anywhere.
    """
    argv = [
        str(interpreter.binary), "-I", "-S", "-m", "compileall", "-qq", "-j", "0", "--invalidation-mode",
        "unchecked-hash", "-s", str(root), "-p", "/", str(root / folder),
    ]  # fmt: skip
    subprocess.run(argv, check=False, capture_output=True, timeout=900)  # noqa: S603


def _prune(target: Path) -> None:
    """Drop what no agent imports: launchers for the host's terminal, type stubs, stale bytecode."""
    tree.remove(target / "bin")
    for pattern in ("__pycache__", "*.pyi"):
        for path in list(target.rglob(pattern)):
            tree.remove(path) if path.is_dir() else path.unlink()
