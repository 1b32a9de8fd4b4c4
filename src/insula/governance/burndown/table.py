"""The table: which rates hold for a provider's model on a day. Pure; one dictionary hit on the hot path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from operator import attrgetter

from insula.governance.burndown.burn import MILLI, Burn, Confidence
from insula.governance.burndown.names import family_name, model_name, provider_name
from insula.governance.burndown.row import ANY, Row

_REMEMBERED = 4_096
_BEGINNING = date(2020, 1, 1)
_rank = attrgetter("rank")


class Burndown:
    """Rows, asked by provider, endpoint kind, model and day.

    ``warn`` is told each assumption when it is first made; rates without a row of their own are a guess, and
    somebody should look.
    """

    def __init__(self, rows: Iterable[Row], warn: Callable[[Burn], None] | None = None) -> None:
        self.rows = tuple(rows)
        self._warn = warn
        self._found: dict[tuple[str, str, str, date], Burn] = {}

    def find(self, provider: str, endpoint: str, model: str, on: date) -> Burn:
        """Return the rates in force on a day, for a model id in any of its spellings.

        The narrowest row wins, and among equals the latest. A model that only a catch-all row speaks of, but
        whose family has rows of its own at that endpoint, gets the highest rates of its family: too high
        costs throughput, too low passes the provider's limit. A provider without rows counts every token
        once. Both are marked ``assumed``.
        """
        key = (provider, endpoint, model, on)
        burn = self._found.get(key)
        if burn is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            burn = self._found[key] = self._look_up(
                provider_name(provider), endpoint.lower(), model_name(model), on
            )
            if burn.assumed and self._warn is not None:
                self._warn(burn)
        return burn

    def places(self, model: str) -> tuple[tuple[str, str], ...]:
        """Return the providers and endpoint kinds whose rows speak of a model, or of its family."""
        name = model_name(model)
        family = family_name(name)
        found = {
            (row.provider, row.endpoint)
            for row in self.rows
            if row.provider != ANY and (row.family == family or (row.model != ANY and row.matches(name)))
        }
        return tuple(sorted(found))

    def _look_up(self, provider: str, endpoint: str, model: str, on: date) -> Burn:
        rows = [row for row in self.rows if row.covers(provider, endpoint, on)]
        best = max((row for row in rows if row.matches(model)), key=_rank, default=None)
        if best is not None and best.model != ANY:
            return best.burn
        family = [row for row in rows if row.family == family_name(model) and row.model != ANY]
        if family and (best is None or not best.rank[0]):
            return _highest(_in_force(family), model)
        return best.burn if best is not None else _plain(provider, model)


def _in_force(rows: list[Row]) -> list[Burn]:
    """Return the newest rates of each pattern: what a later row replaced no longer counts."""
    newest: dict[tuple[str, str, str], Row] = {}
    for row in sorted(rows, key=_rank):
        newest[row.provider, row.endpoint, row.model] = row
    return [row.burn for row in newest.values()]


def _highest(burns: list[Burn], model: str) -> Burn:
    """Return the highest rate of each kind; named and sourced for the row with the highest output rate."""
    top = max(burns, key=attrgetter("output", "input"))
    return replace(
        top,
        input=max(burn.input for burn in burns),
        cache_read=max(burn.cache_read for burn in burns),
        cache_write=max(burn.cache_write for burn in burns),
        version=f"assumed:{top.version}",
        confidence=Confidence.UNVERIFIED,
        assumed=True,
        warning=f"no row speaks of {model}; it burns at the highest rates of its family ({top.version})",
    )


def _plain(provider: str, model: str) -> Burn:
    return Burn(
        MILLI,
        MILLI,
        MILLI,
        MILLI,
        version="assumed:plain",
        source="no row",
        confidence=Confidence.UNVERIFIED,
        effective_from=_BEGINNING,
        checked_on=_BEGINNING,
        assumed=True,
        warning=f"no row speaks of {model} at {provider}; every token counts once",
    )
