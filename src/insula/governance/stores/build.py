"""Chooses where the counters of limits live, by the operator's settings."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from insula.governance.quota.governor import Governor
from insula.governance.quota.limits import Limits
from insula.governance.quota.pool import Pool
from insula.kernel.clock import Clock
from insula.kernel.errors import Misconfigured

if TYPE_CHECKING:
    from insula.governance.stores.contract import ReadBooks
    from insula.governance.stores.shards import ShardedStore
    from insula.governance.stores.valkey import ValkeyStore


def build_store(
    limits_store: str | None,
    *,
    clock: Clock,
    limits_for: Callable[[str], Limits],
    metered: Callable[[str], bool],
    pool_of: Callable[[str], Pool | None],
    gateways: int = 1,
    books: ReadBooks | None = None,
    on_debt: Callable[[str, int], None] = lambda _level, _tokens: None,
    remember: Path | None = None,
) -> Governor | ValkeyStore | ShardedStore:
    """Return the counters of this process; or, if ``limits_store`` is given, those on a server.

    ``limits_store`` is an address, or several with commas between them: then tenants are spread over the
    servers. What is shared must be started on the event loop before the first call, and stopped after the
    last. The other arguments are those of ``Governor`` and ``ValkeyStore``; ``remember`` is a directory.
    Raises ``Misconfigured`` if an address is malformed or the extra is not installed.
    """
    if limits_store is None:
        return Governor(
            clock.monotonic_us,
            limits_for,
            wall_s=clock.now,
            metered=metered,
            pool_of=pool_of,
            on_debt=on_debt,
        )
    if importlib.util.find_spec("hiredis") is None:
        raise Misconfigured(
            "limits_store needs the extra valkey", hint="pip install 'insula[valkey]'", field="limits_store"
        )
    from insula.governance.stores.address import Address
    from insula.governance.stores.books import no_books
    from insula.governance.stores.shards import ShardedStore, books_of
    from insula.governance.stores.valkey import ValkeyStore

    addresses = [Address.parse(part.strip()) for part in limits_store.split(",")]
    shards = [
        ValkeyStore(
            address,
            limits_for,
            gateways=gateways,
            metered=metered,
            divided=lambda tenant: pool_of(tenant) is not None,
            books=books_of(number, len(addresses), books or no_books),
            remember=None if remember is None else remember / f"limits-store-{number}",
            prefix=f"insula:{{{number}}}:",
            shards=len(addresses),
            clock=clock,
        )
        for number, address in enumerate(addresses)
    ]
    return shards[0] if len(shards) == 1 else ShardedStore(shards)
