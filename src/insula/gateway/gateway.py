"""The data plane as one part: every listening place, one pipeline, one clockwork for what takes too long."""

from __future__ import annotations

import asyncio

from insula.gateway.caller import Caller
from insula.gateway.connection import Connection
from insula.gateway.metrics import Metrics
from insula.gateway.pipeline import Parts, Pipeline
from insula.gateway.routes import Routes
from insula.gateway.site import Site
from insula.gateway.wire import PUBLIC_LIMITS, WireLimits

_SWEEP_S = 0.5


class DataPlane:
    """Owns the sites. ``start`` and ``stop`` on the event loop that serves them."""

    def __init__(self, parts: Parts) -> None:
        self.metrics = Metrics()
        self.pipeline = Pipeline(parts, self.metrics)
        self._parts = parts
        self._routes = Routes(self.pipeline)
        self._sites: set[Site] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def add(
        self,
        name: str,
        limits: WireLimits,
        caller: Caller,
        own_hosts: frozenset[bytes] | None,
        peer_uid: int | None = None,
    ) -> Site:
        """Add a listening place."""
        site = Site(name, limits, caller, self._routes, self.pipeline, own_hosts, peer_uid)
        self._sites.add(site)
        if self._sweeper is None:
            self._sweep()
        return site

    def remove(self, site: Site) -> None:
        """Forget a place that is closed."""
        self._sites.discard(site)

    async def drain(self, grace_s: float) -> None:
        """Admit no new call; wait up to ``grace_s`` for those in flight, then cancel them."""
        self.pipeline.draining = True
        self._parts.turnstiles.close()
        for site in self._sites:
            site.draining = True
        try:
            async with asyncio.timeout(grace_s):
                await self.pipeline.idle()
        except TimeoutError:
            pass
        await self.stop()

    async def stop(self) -> None:
        """Close every connection; return when every call is on the books and every refusal written."""
        self._parts.turnstiles.close()
        for site in list(self._sites):
            await site.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._parts.upstreams.close()
        await self._parts.refusals.flush()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for site in self._sites:
            site.sweep(now)
        self._sweeper = loop.call_later(_SWEEP_S, self._sweep)


class PublicListener:
    """The listener for callers with a virtual key. ``port`` 0 picks a free one; ``url`` says which."""

    def __init__(
        self, plane: DataPlane, caller: Caller, host: str, port: int, limits: WireLimits = PUBLIC_LIMITS
    ) -> None:
        self._plane = plane
        self._caller = caller
        self._host = host
        self._port = port
        self._limits = limits
        self._server: asyncio.Server | None = None
        self._site: Site | None = None

    @property
    def port(self) -> int:
        """The port it listens on; only after ``start``."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """The base URL without a path; only after ``start``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises ``OSError`` if the address is taken."""
        site = self._plane.add("public", self._limits, self._caller, None)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(site), self._host, self._port, backlog=1024
            )
        except OSError:
            self._plane.remove(site)
            raise
        self._site = site

    async def stop(self) -> None:
        """Listen no more; connections are the data plane's to close."""
        if self._server is not None:
            self._server.close()
            self._server = None
