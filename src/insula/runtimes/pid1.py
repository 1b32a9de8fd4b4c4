"""Pid 1's code, compiled once, so that no sandbox compiles it again."""

from __future__ import annotations

import hashlib
import py_compile
import sys
import tempfile
from pathlib import Path

import insula
from insula.runtimes import tree

_SOURCE = Path(insula.__file__).parent / "agent"
_INSIDE = "/run/insula/agent"


def compile_pid1(directory: Path) -> Path:
    """Return a sealed folder below ``directory`` to mount in sandboxes at ``/run/insula/agent``.

    It is started there as ``python3 /run/insula/agent/__main__.pyc -- PROGRAM [ARGUMENT …]`` (named as a
    file: running the folder would load ``runpy``, 6 ms). Built on the first call, found on later ones.
    """
    sources = sorted(_SOURCE.glob("*.py"))
    content = b"".join(source.name.encode() + b"\0" + source.read_bytes() for source in sources)
    version = hashlib.sha256(sys.version.encode() + content).hexdigest()[:16]
    final = directory / f"agent-{version}"
    if not final.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        _compile(sources, final)
    return final


def _compile(sources: list[Path], final: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=".agent-", dir=final.parent))
    try:
        for source in sources:
            py_compile.compile(
                str(source),
                cfile=str(scratch / f"{source.stem}.pyc"),
                dfile=f"{_INSIDE}/{source.name}",
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        tree.seal(scratch)
        scratch.chmod(0o755)
        scratch.rename(final)
        final.chmod(0o555)
    except OSError:
        if not final.is_dir():  # another process was first: its folder is as good
            raise
    finally:
        tree.remove(scratch)
