"""Where a command acts: the home of a platform on this machine, or a URL and a token.

A flag wins over the environment, the environment over the default.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from insula.kernel.errors import PlatformNotRunning, Unauthenticated

if TYPE_CHECKING:
    from insula.cli.client import Client

START = "start it: insula up   (or name another one: --url URL, with INSULA_TOKEN set)"


@dataclass(frozen=True, slots=True)
class Place:
    """What the options that every command takes said. ``as_json``: data for programs on stdout."""

    home: Path
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    as_json: bool = False

    @classmethod
    def of(cls, home: str | None, url: str | None, token: str | None, as_json: bool) -> Place:
        """Return the place that flags and environment name."""
        chosen = Path(home or os.environ.get("INSULA_HOME") or "~/.insula").expanduser().absolute()
        return cls(
            chosen, url or os.environ.get("INSULA_URL"), token or os.environ.get("INSULA_TOKEN"), as_json
        )

    def client(self) -> Client:
        """Return a client of the platform. Raises ``PlatformNotRunning`` or ``Unauthenticated``."""
        from insula.cli.client import Client

        url = self.url or self._running_url()
        return Client(url, self.token or self._operator_token(), remote=self.url is not None)

    def running(self) -> dict[str, object] | None:
        """Return what the platform of this home wrote about itself, if one is alive."""
        try:
            said = json.loads((self.home / "platform.json").read_text())
            os.kill(int(said["pid"]), 0)
        except PermissionError as error:
            return said if error.filename is None else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return dict(said)

    def _running_url(self) -> str:
        said = self.running()
        if said is None:
            raise PlatformNotRunning(f"no platform is running in {self.home}", hint=START)
        return str(said["api"])

    def _operator_token(self) -> str:
        if self.url is not None:
            raise Unauthenticated("--url needs a token", hint="set INSULA_TOKEN, or give --token")
        try:
            return (self.home / "operator.token").read_text().strip()
        except OSError:
            raise Unauthenticated(
                f"the operator's token in {self.home} can't be read",
                hint="run as the user who runs the platform, or set INSULA_TOKEN",
            ) from None
