"""The home: the one directory under which every file of a platform lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from insula.kernel.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Home:
    """Names under ``root``: ``home / "control.db"``."""

    root: Path

    def prepare(self) -> Home:
        """Create the directory with mode 0700. Raises ``Misconfigured`` when that is not possible."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
        except OSError as error:
            raise Misconfigured(
                f"the home {self.root} cannot be used: {error.strerror}",
                hint="choose another with --home or INSULA_HOME",
                field="home",
            ) from error
        return self

    def __truediv__(self, name: str) -> Path:
        return self.root / name
