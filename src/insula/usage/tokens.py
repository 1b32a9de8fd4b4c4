"""Token counts of one call, brought to one convention whatever the provider's.

``input`` is everything that was read, cached or not; ``cache_read`` and ``cache_write`` are parts of it.
``output`` is everything that was produced; ``reasoning`` is a part of it. What a provider counts beside the
whole is added once, here: nothing behind this file adds token counts of one kind to another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Self

from insula.kernel.errors import InvalidRequest

MOST_TOKENS = 10**12
"""No single call uses more; a larger figure is an error of whoever sent it."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Whole numbers with ``cache_read + cache_write <= input`` and ``reasoning <= output``.

    ``cache_write_1h`` is the part of ``cache_write`` that is kept for an hour instead of five minutes.
    Raises ``InvalidRequest`` naming the field otherwise.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0

    def __post_init__(self) -> None:
        figures = _figures(self)
        check_counts(FIGURES, figures)
        check_parts(*figures)

    @property
    def total(self) -> int:
        """Input and output together: what quotas count."""
        return self.input + self.output

    @classmethod
    def from_openai(cls, usage: Mapping[str, Any]) -> Self:
        """Read the ``usage`` object of an OpenAI-compatible response.

        Cached tokens are inside ``prompt_tokens``. Reasoning is inside ``completion_tokens``, except with
        servers whose ``total_tokens`` shows that they count it beside. Parts that exceed their whole are
        cut to it. Raises ``InvalidRequest`` when a main figure is missing or no whole number: then the call
        has to be estimated. An explicit 0 is 0.
        """
        read = _figure(usage, "prompt_tokens")
        produced = _figure(usage, "completion_tokens", missing=0)
        cached = _part(usage, "prompt_tokens_details", "cached_tokens")
        reasoning = _part(usage, "completion_tokens_details", "reasoning_tokens")
        if reasoning and usage.get("total_tokens") == read + produced + reasoning:
            produced += reasoning
        return cls(
            input=read, cache_read=min(cached, read), output=produced, reasoning=min(reasoning, produced)
        )

    @classmethod
    def from_anthropic(cls, usage: Mapping[str, Any]) -> Self:
        """Read the ``usage`` object of an Anthropic message, or of one that Bedrock passes through.

        ``input_tokens`` leaves out what was read from and written to the cache: both are added. Thinking is
        inside ``output_tokens``. Raises ``InvalidRequest`` like ``from_openai``.
        """
        read = _figure(usage, "input_tokens")
        produced = _figure(usage, "output_tokens", missing=0)
        cached = _figure(usage, "cache_read_input_tokens", missing=0)
        written = _figure(usage, "cache_creation_input_tokens", missing=0)
        hour = min(_part(usage, "cache_creation", "ephemeral_1h_input_tokens"), written)
        thought = min(_part(usage, "output_tokens_details", "thinking_tokens"), produced)
        return cls(read + cached + written, cached, written, produced, thought, hour)

    @classmethod
    def from_bedrock(cls, usage: Mapping[str, Any]) -> Self:
        """Read the ``usage`` object of Bedrock's Converse.

        ``inputTokens`` leaves out what was read from and written to the cache: both are added. Raises
        ``InvalidRequest`` like ``from_openai``.
        """
        read = _figure(usage, "inputTokens")
        produced = _figure(usage, "outputTokens", missing=0)
        cached = _figure(usage, "cacheReadInputTokens", missing=0)
        written = _figure(usage, "cacheWriteInputTokens", missing=0)
        hour = min(_written_for_an_hour(usage.get("cacheDetails")), written)
        return cls(read + cached + written, cached, written, produced, 0, hour)

    @classmethod
    def from_gemini(cls, usage: Mapping[str, Any]) -> Self:
        """Read the ``usageMetadata`` of a Gemini response.

        Cached content is inside ``promptTokenCount``. Thoughts are outside ``candidatesTokenCount``, and what
        tools put into the prompt is outside ``promptTokenCount``: both are added. Raises ``InvalidRequest``
        like ``from_openai``.
        """
        read = _figure(usage, "promptTokenCount") + _figure(usage, "toolUsePromptTokenCount", missing=0)
        thought = _figure(usage, "thoughtsTokenCount", missing=0)
        produced = _figure(usage, "candidatesTokenCount", missing=0) + thought
        cached = _figure(usage, "cachedContentTokenCount", missing=0)
        return cls(input=read, cache_read=min(cached, read), output=produced, reasoning=thought)


FIGURES = ("input", "cache_read", "cache_write", "output", "reasoning", "cache_write_1h")
_figures = attrgetter(*FIGURES)


def check_counts(names: Sequence[str], values: Sequence[Any], most: int = MOST_TOKENS) -> None:
    """Raise ``InvalidRequest``, naming the field, unless all ``values`` are whole numbers up to ``most``."""
    if set(map(type, values)) == {int} and min(values) >= 0 and max(values) <= most:
        return
    for name, value in zip(names, values, strict=True):
        if type(value) is not int or not 0 <= value <= most:
            hint = f"give a whole number from 0 to {most}"
            raise InvalidRequest(f"{name} is {shown(value)}", hint=hint, field=name)


def shown(value: object) -> str:
    """Return ``value`` short enough for a message, whatever it is."""
    if isinstance(value, int) and value.bit_length() > 100:
        return f"a number of {value.bit_length()} bits"
    return repr(value if isinstance(value, int | float | None) else str(value)[:40])


def check_parts(
    read: int, cache_read: int, cache_write: int, produced: int, reasoning: int, cache_write_1h: int
) -> None:
    """Raise ``InvalidRequest`` if parts exceed their whole: they were counted beside it, not in it."""
    if cache_read + cache_write > read:
        raise InvalidRequest("more tokens were cached than read", hint="count them in", field="input")
    if reasoning > produced:
        raise InvalidRequest("more tokens of reasoning than of output", hint="count them in", field="output")
    if cache_write_1h > cache_write:
        hint = "count them in"
        raise InvalidRequest("more was cached for an hour than at all", hint=hint, field="cache_write")


def _figure(usage: Mapping[str, Any], name: str, missing: int | None = None) -> int:
    value = usage.get(name)
    value = missing if value is None and missing is not None else value
    check_counts((name,), (value,))
    assert isinstance(value, int)
    return value


def _part(usage: Mapping[str, Any], group: str, name: str) -> int:
    """Return an optional sub-count; anything that is not one counts as 0."""
    details = usage.get(group)
    value = details.get(name) if isinstance(details, Mapping) else None
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else 0


def _written_for_an_hour(details: object) -> int:
    """Return what Converse lists as written with a time to live of one hour."""
    entries = details if isinstance(details, list) else []
    found = [
        entry.get("inputTokens") for entry in entries if isinstance(entry, dict) and entry.get("ttl") == "1h"
    ]
    return sum(value for value in found if type(value) is int and 0 <= value <= MOST_TOKENS)
