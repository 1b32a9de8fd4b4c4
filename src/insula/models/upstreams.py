"""The open way to each endpoint: made on first use, dropped when the endpoint changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from insula.models.catalog import Catalog
from insula.models.endpoint import Endpoint
from insula.models.providers.openai import Patience, Upstream


class Upstreams:
    """One ``Upstream`` per endpoint. ``reveal(secret name)`` gives the endpoint's key in the clear.

    Endpoints may change from any thread; connections are only touched on the event loop that uses them.
    """

    def __init__(
        self, catalog: Catalog, reveal: Callable[[str], str], patience: Patience | None = None
    ) -> None:
        self._reveal = reveal
        self._patience = patience
        self._open: dict[str, Upstream] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        catalog.watch(self._changed)

    def to(self, endpoint: Endpoint) -> Upstream:
        """Return the way to ``endpoint``."""
        upstream = self._open.get(endpoint.name)
        if upstream is None:
            key = self._reveal(endpoint.secret) if endpoint.secret is not None else None
            upstream = self._open[endpoint.name] = Upstream(endpoint.base_url, key, self._patience)
            self._loop = asyncio.get_running_loop()
        return upstream

    def attach(self, endpoint: Endpoint, key: str) -> None:
        """Give the key of an endpoint that lives only in this process (call after it is in the catalog)."""
        self._loop = asyncio.get_running_loop()
        self._open[endpoint.name] = Upstream(endpoint.base_url, key, self._patience)

    def close(self) -> None:
        """Close every connection to every endpoint; what is in flight fails."""
        while self._open:
            self._open.popitem()[1].close()

    def _changed(self, name: str) -> None:
        upstream = self._open.pop(name, None)
        if upstream is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(upstream.retire)
