"""What the tenant's ledger is asked when a call is admitted: how much is there, hold it, settle it.

The ledger divides the tenant's token budget among its runs. A call takes from its own run's reservation
first, then from what no run has reserved.
"""

from __future__ import annotations

from typing import Protocol


class Pool(Protocol):
    """One tenant's ledger, as a call sees it. Amounts are quota tokens; ``call`` is the call's id."""

    def available(self, run: str | None) -> int:
        """Return the most that a call of ``run`` may hold now. Reads only."""
        ...

    def hold(self, call: str, run: str | None, tokens: int, sure: int) -> None:
        """Promise ``tokens`` to a call; the caller has seen that they are available.

        ``sure`` (its input) is debited if the call is lost. Raises ``UnavailableError`` if the promise
        cannot be written down.
        """
        ...

    def extend(self, call: str, tokens: int) -> None:
        """Promise ``tokens`` more."""
        ...

    def settle(self, call: str, tokens: int) -> None:
        """End the call at ``tokens`` in all."""
        ...

    def lapse(self, call: str) -> None:
        """Free the hold of a call that nobody settled in time. It may still be settled, late."""
        ...

    def release(self, call: str) -> None:
        """End a call that used nothing."""
        ...
