"""Which store this gateway belongs to, and up to when its usage records were told to it.

A store is known by its *generation*. What a gateway used before it first met a generation is told from its
records; what it uses later, the store counts. The moment between the two stays, for a generation, whatever
happens to the gateway: else calls would count twice, or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from insula.kernel.durable import replace
from insula.kernel.entropy import token_bytes
from insula.kernel.errors import Misconfigured


class Membership:
    """Kept in ``file``, if there is one. ``gateway`` is this gateway's own id.

    ``until`` is the moment by ``now_s``, this host's clock in seconds since the epoch. Before the first
    meeting ``generation`` is ``None``. Raises ``Misconfigured`` if the file is damaged.
    """

    def __init__(self, file: Path | None, now_s: Callable[[], float]) -> None:
        self.gateway = token_bytes(16)
        self.generation: bytes | None = None
        self.until = 0.0
        self._file = file
        self._now_s = now_s
        if file is not None and file.is_file():
            self._read(file)

    def meet(self, generation: bytes) -> None:
        """Belong to another generation from now on. Raises ``OSError`` if that cannot be written down."""
        until = self._now_s()
        if self._file is not None:
            words = {"gateway": self.gateway.hex(), "store": generation.hex(), "told_until": until}
            replace(self._file, json.dumps(words).encode() + b"\n")
        self.generation, self.until = generation, until

    def _read(self, file: Path) -> None:
        try:
            words = json.loads(file.read_text())
            self.gateway, self.generation = bytes.fromhex(words["gateway"]), bytes.fromhex(words["store"])
            self.until = float(words["told_until"])
        except (ValueError, KeyError, TypeError) as error:
            raise Misconfigured(
                f"{file} is damaged: which store of limits was told what is not known",
                hint="restore it from your backup; without it this gateway is a new one, and what the store"
                " counted for it this month counts twice: then remove the file",
                field="limits_store",
            ) from error
