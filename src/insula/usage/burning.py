"""The rates that a booked call was debited at, found again by the version that its event names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from insula.governance.burndown import Burn, Burndown

_ASSUMED = "assumed:"
_PLAIN = "assumed:plain"


class Rates(NamedTuple):
    """Thousandths of a quota token for each token of a kind."""

    input: int
    cache_read: int
    cache_write: int
    output: int


ONE_FOR_ONE = Rates(1_000, 1_000, 1_000, 1_000)


class Burning:
    """Looks rates up in the burndown in force. What its table no longer has cannot be recomputed."""

    def __init__(self, burndown: Burndown) -> None:
        self._burndown = burndown
        self._rows = {row.burn.version: row for row in burndown.rows}

    def rates(self, version: str, model: str, moment: float) -> Rates | None:
        """Return the rates of ``version`` for a call to ``model`` that began at ``moment``, or ``None``.

        No version is the time before burndown: every token counted once. An assumed version was put together
        for its model from the rows of that day: it is put together again, and must come out the same.
        """
        if version in {"", _PLAIN}:
            return ONE_FOR_ONE
        row = self._rows.get(version.removeprefix(_ASSUMED))
        if row is None:
            return None
        if not version.startswith(_ASSUMED):
            return _rates(row.burn)
        day = datetime.fromtimestamp(moment, UTC).date()
        burn = self._burndown.find(row.provider, row.endpoint, model, day)
        return _rates(burn) if burn.version == version else None


def _rates(burn: Burn) -> Rates:
    return Rates(burn.input, burn.cache_read, burn.cache_write, burn.output)
