"""What the journal says, done: the same operations make the same ledgers again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from insula.governance.ledger.journal import Entry
from insula.governance.ledger.reservation import State
from insula.governance.ledger.tenant_ledger import TenantLedger
from insula.governance.ledger.wants import Wants


class Kept:
    """The ledgers of a process, by tenant, and what was learned. ``now_us``: the time of the last entry."""

    __slots__ = ("ledgers", "now_us", "wants")

    def __init__(self) -> None:
        self.ledgers: dict[str, TenantLedger] = {}
        self.wants = Wants()
        self.now_us = 0

    def do(self, entry: Entry) -> Any:
        """Carry out an entry; return the answer. One for a ledger that is not there does nothing."""
        tenant, name, given = entry
        self.now_us = max(self.now_us, given.get("now_us", 0))
        act = _ACTS.get(name)
        if act is not None:
            return act(self, tenant, given)
        ledger = self.ledgers.get(tenant)
        return getattr(ledger, name)(**given) if ledger is not None else None

    def entries(self) -> Iterator[Entry]:
        """Yield the fewest entries that make all this."""
        yield ["", "clock", {"now_us": self.now_us}]
        yield ["", "wants", {"learned": self.wants.snapshot()}]
        for tenant, ledger in self.ledgers.items():
            yield [tenant, "restore", {"state": ledger.snapshot()}]


def replay(entries: Iterable[Entry]) -> Kept:
    """Return what these entries make.

    Raises what a journal of another version makes of them: ``ValueError``, ``TypeError``, ``KeyError`` or
    ``AttributeError``. An operation that failed an assertion had changed nothing, and does so again.
    """
    kept = Kept()
    for entry in entries:
        with contextlib.suppress(AssertionError):
            kept.do(entry)
    return kept


def _create(kept: Kept, tenant: str, given: dict[str, Any]) -> None:
    kept.ledgers[tenant] = TenantLedger(**given)


def _restore(kept: Kept, tenant: str, given: dict[str, Any]) -> None:
    kept.ledgers[tenant] = TenantLedger.restore(given["state"])


def _drop(kept: Kept, tenant: str, given: dict[str, Any]) -> None:
    kept.ledgers.pop(tenant, None)
    if given.get("forget"):
        kept.wants.forget(tenant)


def _waiting(kept: Kept, tenant: str, given: dict[str, Any]) -> Any:
    ledger = kept.ledgers.get(tenant)
    return ledger.waiting(**given | {"state": State(given["state"])}) if ledger is not None else None


_ACTS: dict[str, Callable[[Kept, str, dict[str, Any]], Any]] = {
    "create": _create,
    "restore": _restore,
    "drop": _drop,
    "waiting": _waiting,
    "learn": lambda kept, tenant, given: kept.wants.learn(tenant, given["agent"], given["tokens"]),
    "wants": lambda kept, _tenant, given: kept.wants.restore(given["learned"]),
    "clock": lambda _kept, _tenant, _given: None,
}
