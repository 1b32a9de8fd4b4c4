"""Where a store of limits listens."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

from insula.governance.stores.wire import Wire
from insula.kernel.errors import Misconfigured

_SCHEMES = ("unix", "valkey", "redis", "valkeys", "rediss")


@dataclass(frozen=True, slots=True)
class Address:
    """A Unix socket or a TCP endpoint, with or without TLS, a name and a password."""

    path: str | None = None
    host: str = "127.0.0.1"
    port: int = 6379
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address in ``unix:///path``, ``valkey://[user:password@]host[:port]`` or ``valkeys://``.

        ``redis`` and ``rediss`` mean the same. Raises ``Misconfigured``; a password is never repeated.
        """
        try:
            parts = urlsplit(text)
            port = parts.port or 6379
        except ValueError:
            raise _malformed() from None
        sound = parts.path if parts.scheme == "unix" else parts.hostname
        if parts.scheme not in _SCHEMES or not sound:
            raise _malformed()
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        if parts.scheme == "unix":
            return cls(unquote(parts.path), user=user, password=password)
        return cls(None, parts.hostname or "", port, parts.scheme.endswith("s"), user, password)

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"valkey{'s' * self.tls}://{self.host}:{self.port}"

    async def connect(self, timeout_s: float, on_gone: Callable[[], None]) -> Wire:
        """Return a connection that is ready. Raises ``OSError`` or ``ReplyError``."""
        loop = asyncio.get_running_loop()

        def make() -> Wire:
            return Wire(timeout_s, on_gone)

        async with asyncio.timeout(timeout_s):
            if self.path:
                _, wire = await loop.create_unix_connection(make, self.path)
            else:
                context = ssl.create_default_context() if self.tls else None
                _, wire = await loop.create_connection(make, self.host, self.port, ssl=context)
            if self.password is not None:
                name = () if self.user is None else (self.user.encode(),)
                try:
                    await wire.ask(b"AUTH", *name, self.password.encode())
                except BaseException:
                    wire.close()
                    raise
        return wire


def _malformed() -> Misconfigured:
    return Misconfigured(
        "limits_store is not an address",
        hint="write unix:///path/to/socket, valkey://HOST:PORT or valkeys://USER:PASSWORD@HOST:PORT",
        field="limits_store",
    )
