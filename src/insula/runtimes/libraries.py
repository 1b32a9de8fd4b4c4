"""The shared libraries a file needs, as the dynamic loader itself resolves them."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

_PT_INTERP = 3


def loader_of(binary: Path) -> Path:
    """Return the dynamic loader that an ELF executable asks for (its PT_INTERP; ELF64, little endian).

    Source: System V ABI, "Program Loading and Dynamic Linking".
    """
    with binary.open("rb") as file:
        head = file.read(64)
        offset = struct.unpack_from("<Q", head, 32)[0]
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(offset)
        table = file.read(size * count)
        for start in range(0, size * count, size):
            kind = struct.unpack_from("<I", table, start)[0]
            if kind == _PT_INTERP:
                at, _, _, length = struct.unpack_from("<QQQQ", table, start + 8)
                file.seek(at)
                return Path(file.read(length).rstrip(b"\0").decode())
    raise ValueError(f"{binary} is not dynamically linked")


def needed(loader: Path, files: Iterable[Path], inside: Path) -> dict[str, Path]:
    """Return name -> host path of every library ``files`` need, save those that lie under ``inside``.

    The loader only lists (it runs nothing of the file). A library that the host lacks is left out: the
    module that wants it fails to import, as it would on the host.
    """
    found: dict[str, Path] = {}
    for file in files:
        argv = [str(loader), "--list", str(file)]
        listed = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
        for line in listed.stdout.splitlines():
            name, arrow, rest = line.strip().partition(" => ")
            path = Path(rest.rsplit(" (", 1)[0])
            if arrow and path.is_absolute() and not path.is_relative_to(inside):
                found.setdefault(Path(name).name, path)
    return found
