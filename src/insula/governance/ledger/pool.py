"""One tenant's ledger as the governor sees it when calls are admitted and settled."""

from __future__ import annotations

from insula.governance.ledger.answer import Held
from insula.governance.ledger.ledgers import Ledgers

_BOUNDLESS = 2**62


class TenantPool:
    """Implements the governor's ``Pool`` over the ledgers of this process."""

    def __init__(self, ledgers: Ledgers, tenant: str) -> None:
        self._ledgers = ledgers
        self._tenant = tenant

    def available(self, run: str | None) -> int:
        """Return the most that a call of ``run`` may hold now."""
        room = self._ledgers.room(self._tenant, run)
        return _BOUNDLESS if room is None else room

    def hold(self, call: str, run: str | None, tokens: int, sure: int) -> None:
        """Promise ``tokens``, which are available. Raises ``UnavailableError`` if that cannot be written."""
        wanted = max(1, tokens)
        answer = self._ledgers.hold(self._tenant, call, run, wanted, wanted, sure=min(sure, wanted))
        assert answer is None or isinstance(answer, Held), answer

    def extend(self, call: str, tokens: int) -> None:
        """Promise ``tokens`` more."""
        self._ledgers.raise_hold(self._tenant, call, tokens)

    def settle(self, call: str, tokens: int) -> None:
        """End the call at ``tokens`` in all."""
        self._ledgers.settle(self._tenant, call, tokens)

    def lapse(self, call: str) -> None:
        """Free the hold of a call that nobody settled in time."""
        self._ledgers.lapse(self._tenant, call)

    def release(self, call: str) -> None:
        """End a call that used nothing."""
        self._ledgers.release(self._tenant, call)
