"""What a call costs, in whole nano-dollars.

Prices come from the ``genai-prices`` package, which carries them inside: nothing is fetched. It is imported
when the first price is asked for (a fifth of a second, some 30 MB), so call ``warm`` from a thread first. The
rates of a model are looked up once per quarter of an hour, because some depend on the time of day.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from insula.kernel.clock import Clock
from insula.usage.event import UNPRICED
from insula.usage.own_prices import OwnPrice, OwnPrices
from insula.usage.soundness import MOST_NANOUSD
from insula.usage.tokens import Tokens

LOCAL = "local"
_SLOT_S = 900
_MOST_MODELS = 4_096
_ATTO_PER_NANO = 10**9
_MTOK_PER_KCALL = 1_000  # a price per thousand calls, read as one per million tokens
_ATTO_PER_MTOK = 10**12  # a dollar per million tokens is 10**12 atto-dollars per token


@dataclass(frozen=True, slots=True)
class Rates:
    """Atto-dollars (1e-18) per token and per call, for calls that read more tokens than ``above``."""

    above: int
    call: int
    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int

    def nanousd(self, tokens: Tokens) -> int:
        """Return the cost, rounded half up once."""
        fresh = tokens.input - tokens.cache_read - tokens.cache_write
        atto = self.call + fresh * self.input + tokens.cache_read * self.cache_read
        atto += (tokens.cache_write - tokens.cache_write_1h) * self.cache_write
        atto += tokens.cache_write_1h * self.cache_write_1h + tokens.output * self.output
        return (atto + _ATTO_PER_NANO // 2) // _ATTO_PER_NANO


class Quote:
    """The price of one model as it stood at one moment. Call it with tokens."""

    __slots__ = ("_tiers", "version")

    def __init__(self, tiers: tuple[Rates, ...], version: str) -> None:
        self._tiers = tiers
        self.version = version

    @property
    def known(self) -> bool:
        """Whether anybody knows what the model costs."""
        return self.version != UNPRICED

    def __call__(self, tokens: Tokens) -> tuple[int, str]:
        """Return the cost in nano-dollars and the version of the price list."""
        tiers = self._tiers
        if not tiers:
            return 0, self.version
        rates = tiers[bisect_left(tiers, tokens.input, key=lambda tier: tier.above) - 1]
        return min(rates.nanousd(tokens), MOST_NANOUSD), self.version


def _own_quote(price: OwnPrice, version: str) -> Quote:
    return Quote((Rates(above=-1, call=0, **price._asdict()),), version)


_FREE = Quote((), LOCAL)
_UNKNOWN = Quote((), UNPRICED)


class PriceBook:
    """Costs by provider and model. ``provider`` ``"local"`` costs nothing; ``own`` prices go before lists."""

    def __init__(self, clock: Clock, own: OwnPrices | None = None) -> None:
        self._clock = clock
        self._own = (
            {model: _own_quote(price, own.version) for model, price in own.prices.items()} if own else {}
        )
        self._version = ""
        self._cached: dict[tuple[str, str], tuple[int, tuple[Rates, ...]]] = {}

    def warm(self) -> None:
        """Load the prices. Blocking."""
        import importlib.metadata

        from genai_prices.data_snapshot import get_snapshot

        get_snapshot()
        self._version = f"genai-prices/{importlib.metadata.version('genai-prices')}"

    def cost_nanousd(self, provider: str, model: str, tokens: Tokens) -> tuple[int, str]:
        """Return the cost of a call that ends now, and the version of the price list.

        A model that the list does not have costs 0 with the version ``unpriced``.
        """
        return self.cost_at(self._clock.now(), provider, model, tokens)

    def cost_at(self, moment: float, provider: str, model: str, tokens: Tokens) -> tuple[int, str]:
        """Return what ``cost_nanousd`` does for a call that ended at ``moment``, by the list of today."""
        return self.quote(provider, model, moment)(tokens)

    def quote(self, provider: str, model: str, moment: float | None = None) -> Quote:
        """Return the price of a model as it stands at a moment (default: now), to be held to for a call."""
        if provider == LOCAL:
            return _FREE
        if self._own:
            own = self._own.get(model)
            if own is not None:
                return own
        tiers = self._tiers(self._clock.now() if moment is None else moment, provider, model)
        return Quote(tiers, self._version) if tiers else _UNKNOWN

    def _tiers(self, moment: float, provider: str, model: str) -> tuple[Rates, ...]:
        slot = int(moment) // _SLOT_S
        cached = self._cached.get((provider, model))
        if cached is not None and cached[0] == slot:
            return cached[1]
        if not self._version:
            self.warm()
        tiers = _look_up(provider, model, datetime.fromtimestamp(moment, UTC))
        if len(self._cached) >= _MOST_MODELS:
            self._cached.clear()
        self._cached[provider, model] = (slot, tiers)
        return tiers


def _look_up(provider: str, model: str, moment: datetime) -> tuple[Rates, ...]:
    """Return the rates by size of the input, smallest first; empty if nobody knows the price."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, info = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return ()
    price = info.get_prices(moment)
    starts = {tier.start for name in _PRICES for tier in getattr(getattr(price, name), "tiers", ())}
    return tuple(_rates(price, above) for above in (-1, *sorted(starts)))


_PRICES = (
    *("requests_kcount", "input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"),
    "output_mtok",
)


def _rates(price: Any, above: int) -> Rates:
    """Return one tier's rates. What has no price of its own costs what it is a part of."""
    read = _rate(price.input_mtok, above)
    written = _first(_rate(price.cache_write_mtok, above), read)
    return Rates(
        above=above,
        call=(_rate(price.requests_kcount, above) or 0) * _MTOK_PER_KCALL,
        input=read or 0,
        cache_read=_first(_rate(price.cache_read_mtok, above), read),
        cache_write=written,
        cache_write_1h=_first(_rate(price.cache_write_1h_mtok, above), written),
        output=_rate(price.output_mtok, above) or 0,
    )


def _first(own: int | None, whole: int | None) -> int:
    return own if own is not None else whole or 0


def _rate(price: Any, above: int) -> int | None:
    """Return atto-dollars per token for inputs just over ``above``."""
    if price is None:
        return None
    rate = getattr(price, "base", price)
    for tier in getattr(price, "tiers", ()):
        if above >= tier.start:
            rate = tier.price
    nearest: int = round(rate * _ATTO_PER_MTOK)
    return nearest
