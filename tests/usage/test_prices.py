"""Prices: our integers against the price list's own arithmetic; local is free; unknown is flagged."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from insula.kernel.clock import ManualClock
from insula.usage import UNPRICED, PriceBook, Tokens

MODELS = [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
HALF = Decimal("0.500001")  # a few listed prices are thirds, cut at the 28th digit


def listed(provider: str, model: str, tokens: Tokens, clock: ManualClock) -> Decimal:
    """What the price list itself computes, in nano-dollars."""
    usage = Usage(
        input_tokens=tokens.input,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write,
        cache_write_1h_tokens=tokens.cache_write_1h,
        output_tokens=tokens.output,
    )
    moment = datetime.fromtimestamp(clock.now(), UTC)
    price = calc_price(usage, model, provider_id=provider, genai_request_timestamp=moment)
    return price.total_price * 1_000_000_000


@st.composite
def token_counts(draw: st.DrawFn) -> Tokens:
    read = draw(st.integers(0, 10**6))
    cached = draw(st.integers(0, read))
    written = draw(st.integers(0, read - cached))
    hour = draw(st.integers(0, written))
    return Tokens(read, cached, written, draw(st.integers(0, 10**5)), cache_write_1h=hour)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MODELS), token_counts(), st.integers(0, 86_400))
def test_costs_are_those_of_the_list(which: tuple[str, str], tokens: Tokens, second: int) -> None:
    """To half a nano-dollar, for every provider and model, at any time of day."""
    clock = ManualClock(1_790_000_000.0 + second)
    cost, version = PriceBook(clock).cost_nanousd(*which, tokens)
    if version == UNPRICED:
        assert cost == 0
        return
    assert abs(cost - listed(*which, tokens, clock)) <= HALF


def test_a_known_price_to_the_nano_dollar() -> None:
    book = PriceBook(ManualClock())
    cost, version = book.cost_nanousd("openai", "gpt-4o", Tokens(input=1000, cache_read=10, output=100))
    assert cost == 990 * 2_500 + 10 * 1_250 + 100 * 10_000
    assert version.startswith("genai-prices/")


def test_local_models_are_free_and_unknown_ones_flagged() -> None:
    book = PriceBook(ManualClock())
    tokens = Tokens(input=10**6, output=10**6)
    assert book.cost_nanousd("local", "anything", tokens) == (0, "local")
    assert book.cost_nanousd("openai", "no-such-model-at-all", tokens) == (0, UNPRICED)
    assert book.cost_nanousd("nobody", "gpt-4o", tokens) == (0, UNPRICED)


def test_rates_follow_the_time_of_day() -> None:
    """Some models are cheaper at night: the cached rate must not outlive its quarter of an hour."""
    clock = ManualClock(1_790_000_000.0 // 86_400 * 86_400)
    book, tokens = PriceBook(clock), Tokens(input=1_000_000, output=1_000_000)
    seen = set()
    for _ in range(96):
        cost, _ = book.cost_nanousd("deepseek", "deepseek-chat", tokens)
        assert abs(cost - listed("deepseek", "deepseek-chat", tokens, clock)) <= 1
        seen.add(cost)
        clock.advance(900)
    assert seen


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insula.usage.prices._MOST_MODELS", 8)
    book = PriceBook(ManualClock())
    for number in range(50):
        book.cost_nanousd("openai", f"made-up-{number}", Tokens())
    assert len(book._cached) <= 8
