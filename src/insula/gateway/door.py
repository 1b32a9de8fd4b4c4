"""Doors: one Unix socket per run, the only way out of its sandbox. Who calls is decided by which door."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from insula.gateway.caller import DoorCaller
from insula.gateway.connection import Connection
from insula.gateway.destination import DOOR_HOSTS
from insula.gateway.site import Site
from insula.gateway.wire import WireLimits
from insula.governance.fairness import Lane
from insula.identity import Gateway, Verifier
from insula.kernel.errors import Denied
from insula.kernel.ids import RunId

if TYPE_CHECKING:
    from insula.gateway.gateway import DataPlane

_BACKLOG = 128


class Door:
    """An open door. ``path`` is the socket to mount into the sandbox."""

    def __init__(
        self, path: Path, site: Site, server: asyncio.Server, forget: Callable[[Door], None]
    ) -> None:
        self.path = path
        self.site = site
        self._server = server
        self._forget = forget

    async def close(self) -> None:
        """Shut the door: no new connection, calls in flight cancelled and on the books. Again is fine."""
        self._server.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._forget(self)
        await self.site.close()


class Doors:
    """Opens doors under ``directory`` (0700), each tenant's in a directory of its own."""

    def __init__(
        self, directory: Path, verifier: Verifier[Gateway], plane: DataPlane, limits: WireLimits | None = None
    ) -> None:
        self._directory = directory
        self._verifier = verifier
        self._plane = plane
        self._limits = limits or WireLimits()
        self._open: set[Door] = set()  # an open door stays open even if nobody holds it

    async def open(
        self,
        credential: Callable[[], str],
        *,
        run: RunId,
        agent: str,
        models: Sequence[str],
        uid: int | None,
        app: str | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> Door:
        """Open the door of ``run``. ``credential`` returns a fresh token for the gateway, of that run.

        ``app`` is the application that the agent belongs to (``None``: it is one by itself), ``lane`` that of
        calls that name none.
        Only processes of user ``uid`` may connect (``None``: any). Raises ``Unauthenticated`` or ``Denied``
        if the credential is not this run's.
        """
        context = self._verifier.verify(credential())
        if context.run != run:
            raise Denied("the credential is not of this run", rule="door.run")
        directory = self._directory / room_of(context.tenant)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        caller = DoorCaller(self._verifier, credential, agent, frozenset(models), app, lane)
        site = self._plane.add(run, self._limits, caller, DOOR_HOSTS, uid)
        listening = bind(directory, f"{run}.sock", uid)
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: Connection(site), sock=listening, backlog=_BACKLOG
        )
        door = Door(directory / f"{run}.sock", site, server, self._forget)
        self._open.add(door)
        return door

    def sweep(self) -> None:
        """Remove the sockets that a platform left when it died. Before the first door is opened."""
        for tenant in sorted(self._directory.glob("*/")):
            for left in tenant.glob("*.sock"):
                left.unlink(missing_ok=True)

    async def close(self) -> None:
        """Shut every door that is still open."""
        for door in list(self._open):
            await door.close()

    def _forget(self, door: Door) -> None:
        self._open.discard(door)
        self._plane.remove(door.site)


def room_of(tenant: str) -> str:
    """Return the name of a tenant's doors: a sandbox sees it among its mounts, so it says nothing."""
    return hashlib.sha256(b"insula doors\0" + tenant.encode()).hexdigest()[:32]


def bind(directory: Path, name: str, uid: int | None) -> socket.socket:
    """Return a socket bound at ``directory/name``, mode 0600, owned by ``uid``.

    Bound through the directory's descriptor: a socket's address holds 107 bytes, a path may be longer.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with _opened(directory) as folder:
            listening.bind(f"/proc/self/fd/{folder}/{name}")
            os.chmod(name, 0o600, dir_fd=folder)
            if uid is not None and uid != os.geteuid():
                os.chown(name, uid, uid, dir_fd=folder, follow_symlinks=False)
    except OSError:
        listening.close()
        raise
    return listening


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield folder
    finally:
        os.close(folder)
