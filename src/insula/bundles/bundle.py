"""The value: files, the manifest among them, and the digest that names them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from insula.bundles.manifest import Manifest

MANIFEST = "agent.toml"


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file. ``path`` is relative and clean, ``mode`` is 0o644 or 0o755."""

    path: str
    mode: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bundle:
    """An agent's files in the order of their paths, and what its manifest says."""

    digest: str
    manifest: Manifest
    files: tuple[BundleFile, ...]

    @property
    def bytes(self) -> int:
        """The size of all content."""
        return sum(len(file.data) for file in self.files)


def digest_of(files: Iterable[BundleFile]) -> str:
    """Return the SHA-256 over path, permissions and content of ``files``, sorted by path.

    It does not depend on how, when or by whom the files were packed.
    """
    whole = hashlib.sha256(b"insula bundle 1\n")
    for file in sorted(files, key=lambda each: each.path):
        whole.update(f"{file.mode:o} {hashlib.sha256(file.data).hexdigest()} {file.path}\n".encode())
    return whole.hexdigest()
