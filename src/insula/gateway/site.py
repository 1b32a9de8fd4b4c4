"""One listening place: a run's door, or the public listener. Its connections, their bounds, its caller."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from insula.gateway.routes import internal
from insula.kernel.errors import InsulaError, IsolationBreach, Overloaded

if TYPE_CHECKING:
    from insula.gateway.caller import Caller, Identity
    from insula.gateway.connection import Connection
    from insula.gateway.pipeline import Pipeline
    from insula.gateway.routes import Routes
    from insula.gateway.wire import Request, WireLimits

_log = structlog.get_logger()


class Site:
    """What the connections of one place share. ``own_hosts``: names it answers to (``None``: any)."""

    def __init__(
        self,
        name: str,
        limits: WireLimits,
        caller: Caller,
        routes: Routes,
        pipeline: Pipeline,
        own_hosts: frozenset[bytes] | None,
        peer_uid: int | None = None,
    ) -> None:
        self.name = name
        self.limits = limits
        self.own_hosts = own_hosts
        self.public = own_hosts is None
        self.peer_uid = peer_uid  # the only user that may connect (``None``: any)
        self.draining = False
        self.buffered = 0
        self.connections: set[Connection] = set()
        self._caller = caller
        self._routes = routes
        self._pipeline = pipeline
        self._open = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def identify(self, request: Request) -> Identity:
        """Return who sent ``request``. Raises ``Unauthenticated`` or ``Denied``."""
        identity = request.identity = self._caller.identify(request.headers)
        return identity

    def admit(self, connection: Connection) -> InsulaError | None:
        """Count a new connection; return why it may not stay, if so.

        A stranger to this place, and whoever comes beyond twice the bound, finds it just closed.
        """
        self.connections.add(connection)
        self._pipeline.metrics.connections += 1
        if self.peer_uid is not None and connection.peer_uid() != self.peer_uid:
            _log.warning("gateway.wrong_peer", site=self.name)
            connection.abort()
            return None
        if len(self.connections) <= self.limits.connections:
            return None
        if len(self.connections) > 2 * self.limits.connections:
            connection.abort()
            return None
        return Overloaded(
            f"more than {self.limits.connections} connections at once",
            hint="reuse connections, or close some",
            retry_after_s=1,
        )

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        if connection in self.connections:
            self.connections.discard(connection)
            self._pipeline.metrics.connections -= 1

    def handle(self, connection: Connection, request: Request) -> None:
        """Answer ``request`` or see to it that it is answered."""
        try:
            self._routes.handle(self, connection, request)
        except InsulaError as error:
            self.refuse(connection, error)
        except IsolationBreach as breach:
            _log.critical("gateway.isolation_breach", site=self.name, breach=str(breach))
            connection.abort()
            raise
        except Exception as error:
            _log.exception("gateway.failed", site=self.name)
            self.refuse(connection, internal(error), close=True)

    def refuse(self, connection: Connection, error: InsulaError, *, close: bool = False) -> None:
        """Answer the connection's present request with ``error``."""
        request = connection.request
        self._pipeline.refuse(connection, error, request.identity if request else None, close=close)

    def opened(self) -> None:
        """A call of this place is in flight."""
        self._open += 1
        self._quiet.clear()

    def concluded(self) -> None:
        """A call of this place is on the books."""
        self._open -= 1
        if not self._open:
            self._quiet.set()

    def sweep(self, now: float) -> None:
        """Close the connections that took too long."""
        for connection in [one for one in self.connections if one.deadline < now]:
            connection.overdue()

    async def close(self) -> None:
        """Close every connection; calls in flight are cancelled and put on the books."""
        self.draining = True
        for connection in list(self.connections):
            connection.abort()
        await self._quiet.wait()
