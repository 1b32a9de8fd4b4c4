"""Which Python a runtime is made of: found by asking the interpreter itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from insula.kernel.errors import Misconfigured

_QUESTIONS = """
import json, site, ssl, sys, sysconfig
paths = ssl.get_default_verify_paths()
print(json.dumps({
    "build": sys.version,
    "version": ".".join(map(str, sys.version_info[:3])),
    "short": ".".join(map(str, sys.version_info[:2])),
    "stdlib": sysconfig.get_path("stdlib"),
    "debian": any(p.endswith("dist-packages") for p in site.getsitepackages()),
    "ca_file": paths.openssl_cafile,
    "ca_dir": paths.openssl_capath,
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython installation on this host.

    ``binary`` and ``stdlib`` are where its parts lie here; ``packages`` is where, inside a runtime, it
    looks for installed packages; ``ca_file`` and ``ca_dir`` are where its OpenSSL looks for certificates.
    """

    binary: Path
    stdlib: Path
    version: str
    short: str
    build: str
    debian: bool
    ca_file: str
    ca_dir: str

    @property
    def packages(self) -> str:
        """The folder of installed packages, relative to the runtime's root."""
        return "usr/lib/python3/dist-packages" if self.debian else f"usr/lib/python{self.short}/site-packages"


def base_interpreter() -> Interpreter:
    """Return the interpreter below the platform's own virtual environment."""
    base = getattr(sys, "_base_executable", "") or sys.executable
    return describe(Path(base).resolve())


def describe(binary: Path) -> Interpreter:
    """Return what ``binary`` says of itself. Raises ``Misconfigured`` if it is no working CPython."""
    argv = [str(binary), "-I", "-c", _QUESTIONS]
    asked = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    if asked.returncode != 0:
        raise Misconfigured(
            f"{binary} is not a Python that runtimes can be built from",
            hint="start the platform with a CPython 3.11 or newer that has ssl",
            field="interpreter",
        )
    said = json.loads(asked.stdout)
    return Interpreter(binary, Path(said.pop("stdlib")), **said)
