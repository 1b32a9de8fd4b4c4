"""Each provider's way of counting, brought to one convention: nothing twice, nothing left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.kernel.errors import InvalidRequest
from insula.usage import Tokens
from insula.usage.streamed import StreamedUsage

COUNT = st.integers(0, 10**9)


@given(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)
def test_the_same_call_counts_the_same_at_every_provider(
    fresh: int, cached: int, five: int, hour: int, said: int, thought: int
) -> None:
    """One call, told in the dialect of each: what its input leaves out or puts in must not matter."""
    whole, written, produced = fresh + cached + five + hour, five + hour, said + thought
    anthropic = {
        "input_tokens": fresh,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "output_tokens": produced,
        "output_tokens_details": {"thinking_tokens": thought},
    }
    bedrock = {
        "inputTokens": fresh,
        "cacheReadInputTokens": cached,
        "cacheWriteInputTokens": written,
        "cacheDetails": [{"ttl": "1h", "inputTokens": hour}, {"ttl": "5m", "inputTokens": five}],
        "outputTokens": produced,
    }
    openai = {
        "prompt_tokens": whole,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens": produced,
        "completion_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": whole + produced,
    }
    gemini = {
        "promptTokenCount": whole,
        "cachedContentTokenCount": cached,
        "candidatesTokenCount": said,
        "thoughtsTokenCount": thought,
    }
    assert Tokens.from_anthropic(anthropic) == Tokens(whole, cached, written, produced, thought, hour)
    assert Tokens.from_bedrock(bedrock) == Tokens(whole, cached, written, produced, 0, hour)
    assert Tokens.from_openai(openai) == Tokens(whole, cached, 0, produced, thought)
    assert Tokens.from_gemini(gemini) == Tokens(whole, cached, 0, produced, thought)


def test_what_gemini_tools_put_into_the_prompt_is_read_too() -> None:
    usage = {"promptTokenCount": 10, "toolUsePromptTokenCount": 7, "candidatesTokenCount": 2}
    assert Tokens.from_gemini(usage) == Tokens(17, output=2)


READERS: dict[str, tuple[Callable[[Any], Tokens], tuple[str, ...], str]] = {
    "anthropic": (
        Tokens.from_anthropic,
        ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
        "cache_creation",
    ),
    "bedrock": (
        Tokens.from_bedrock,
        ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
        "cacheDetails",
    ),
    "gemini": (
        Tokens.from_gemini,
        ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount"),
        "promptTokensDetails",
    ),
}
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
INSIDE = ANYTHING | st.lists(
    st.dictionaries(st.sampled_from(["ttl", "inputTokens"]), ANYTHING | st.just("1h"))
)


@pytest.mark.parametrize("name", READERS)
@given(st.data())
def test_whatever_a_server_sends_is_counted_or_refused(name: str, data: st.DataObject) -> None:
    read, figures, details = READERS[name]
    fields = {**dict.fromkeys(figures, ANYTHING | st.integers(0, 10**13)), details: INSIDE}
    usage = data.draw(st.fixed_dictionaries({}, optional=fields))
    try:
        tokens = read(usage)
    except InvalidRequest as refused:
        assert refused.field in (*figures, "input")
        return
    assert tokens.cache_read + tokens.cache_write <= tokens.input
    assert tokens.reasoning <= tokens.output and tokens.cache_write_1h <= tokens.cache_write


def test_a_stream_overwrites_and_never_sums() -> None:
    usage = StreamedUsage(Tokens.from_anthropic)
    usage.take({"input_tokens": 25, "cache_read_input_tokens": 100, "output_tokens": 1})
    for produced in (7, 7, 15):
        usage.take({"output_tokens": produced, "input_tokens": None})
    assert usage.tokens() == Tokens(125, 100, 0, 15)


def test_a_stream_that_repeats_everything_counts_it_once() -> None:
    usage = StreamedUsage(Tokens.from_gemini)
    for produced in (3, 9, 12):
        usage.take({"promptTokenCount": 40, "candidatesTokenCount": produced, "thoughtsTokenCount": 5})
    assert usage.tokens() == Tokens(40, output=17, reasoning=5)


def test_a_stream_cut_before_the_first_figures_has_to_be_estimated() -> None:
    with pytest.raises(InvalidRequest):
        StreamedUsage(Tokens.from_anthropic).tokens()
