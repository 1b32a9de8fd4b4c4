"""How large a bundle may be, in every direction."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BundleBounds:
    """Ceilings. ``bytes`` counts unpacked content; ``ratio`` is unpacked to packed, past ``ratio_from``."""

    packed_bytes: int = 32 * MIB
    bytes: int = 64 * MIB
    file_bytes: int = 32 * MIB
    entries: int = 4096
    depth: int = 16
    path_bytes: int = 240
    ratio: int = 200
    ratio_from: int = 4 * MIB


STANDARD = BundleBounds()
