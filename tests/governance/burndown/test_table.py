"""The rows that come with the program, by example, before and after each change; and what nobody lists."""

from datetime import date, timedelta
from itertools import pairwise

import pytest

from insula.governance.burndown import Burn, Burndown, load

TODAY = date(2026, 11, 1)


@pytest.fixture(scope="module")
def table() -> Burndown:
    return load()


@pytest.mark.parametrize(
    ("provider", "endpoint", "model", "rates"),
    [
        ("aws", "bedrock-runtime", "us.anthropic.claude-opus-4-8-20260301-v1:0", (15, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-opus-5-5", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-opus-5", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-sonnet-5", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-fable-5-1", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-sonnet-5-5", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-haiku-5-5", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "gpt-5.6-sol", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "openai.gpt-5.6-terra", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "gpt-5.6-luna", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "gpt-6-astra", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "gpt-6.1-sol", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "kimi-k3", (10, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-3-7-sonnet", (5, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-sonnet-4", (5, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-opus-4-1", (5, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-haiku-4-5", (5, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-sonnet-4-6", (5, 1, 0, 1)),
        ("aws", "bedrock-runtime", "claude-opus-4-7", (5, 1, 0, 1)),
        ("aws", "bedrock-runtime", "amazon.nova-pro-v1:0", (1, 1, 0, 1)),
        ("aws", "bedrock-runtime", "meta.llama3-3-70b-instruct-v1:0", (1, 1, 0, 1)),
        ("aws", "bedrock-runtime", "openai.gpt-oss-120b-1:0", (1, 1, 0, 1)),
        ("aws", "bedrock-runtime", "moonshot.kimi-k2-thinking", (1, 1, 0, 1)),
        ("aws", "bedrock-mantle", "claude-opus-4-8", (1, 1, 1, 1)),
        ("anthropic", "*", "claude-opus-5-5", (1, 1, 0, 1)),
        ("anthropic", "messages", "claude-3-5-haiku-latest", (1, 1, 1, 1)),
        ("openai", "*", "gpt-6-astra", (1, 1, 1, 1)),
        ("azure", "*", "gpt-4o", (1, 1, 1, 1)),
        ("gemini", "*", "gemini-2.5-pro", (0, 1, 1, 1)),
        ("groq", "*", "llama-3.3-70b", (1, 1, 0, 1)),
        ("baseten", "*", "deepseek-v3", (1, 1, 1, 1)),
        ("telnyx", "*", "anything", (1, 1, 1, 1)),
        ("local", "*", "gemma", (1, 1, 1, 1)),
    ],
)
def test_each_row_by_example(
    table: Burndown, provider: str, endpoint: str, model: str, rates: tuple[int, int, int, int]
) -> None:
    burn = table.find(provider, endpoint, model, TODAY)
    assert not burn.assumed
    assert (burn.output, burn.input, burn.cache_read, burn.cache_write) == tuple(
        1000 * rate for rate in rates
    )
    assert burn.source
    assert burn.effective_from <= TODAY


@pytest.mark.parametrize(
    ("model", "day", "before", "after"),
    [
        ("claude-opus-4-8", date(2026, 5, 28), 5_000, 15_000),
        ("claude-sonnet-5", date(2026, 6, 30), 15_000, 10_000),
        ("claude-opus-5", date(2026, 7, 24), 15_000, 10_000),
        ("claude-fable-5-1", date(2026, 9, 1), 15_000, 10_000),
        ("claude-opus-5-5", date(2026, 9, 22), 15_000, 10_000),
        ("claude-3-5-sonnet", date(2026, 9, 1), 1_000, 5_000),
    ],
)
def test_rates_change_on_their_day(table: Burndown, model: str, day: date, before: int, after: int) -> None:
    """Before its own row a model burns at the highest rates that its family had by then."""
    eve = day - timedelta(days=1)
    assert table.find("aws", "bedrock-runtime", model, eve).output == before
    assert table.find("aws", "bedrock-runtime", model, day).output == after


def test_the_list_of_high_rates_only_grew(table: Burndown) -> None:
    """5x in 2025, 15x with Opus 4.8, then the 10x models: what an unlisted Claude burned over time."""
    days = [date(2025, 1, 1), date(2025, 6, 1), date(2026, 5, 28), date(2026, 11, 1)]
    rates = [table.find("aws", "bedrock-runtime", "claude-mythos-9", day).output for day in days]
    assert rates == [1_000, 5_000, 15_000, 15_000]
    assert all(earlier <= later for earlier, later in pairwise(rates))


def test_an_unlisted_model_of_a_known_family_burns_highest_and_says_so() -> None:
    told: list[Burn] = []
    table = load(warn=told.append)
    burn = table.find("aws", "bedrock-runtime", "anthropic.claude-fable-5", TODAY)
    assert (burn.output, burn.assumed) == (15_000, True)
    assert "claude-fable-5" in burn.warning
    assert burn.version.startswith("assumed:aws/bedrock-runtime/claude-opus-4-8@")
    table.find("aws", "bedrock-runtime", "anthropic.claude-fable-5", TODAY)
    assert told == [burn]


def test_an_unknown_provider_counts_every_token_once_and_says_so(table: Burndown) -> None:
    burn = table.find("nobody", "*", "claude-opus-4-8", TODAY)
    assert (burn.input, burn.cache_read, burn.cache_write, burn.output) == (1000,) * 4
    assert burn.assumed
    assert burn.warning


def test_an_unnamed_endpoint_of_a_provider_is_taken_for_its_strictest_row(table: Burndown) -> None:
    assert table.find("aws", "*", "claude-opus-4-8", TODAY).output == 15_000


def test_the_table_remembers_a_bounded_number_of_answers(table: Burndown) -> None:
    for number in range(5_000):
        table.find("nobody", "*", f"m{number}", TODAY)
    assert len(table._found) <= 4_096
