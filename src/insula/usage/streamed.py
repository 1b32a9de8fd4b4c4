"""Usage figures of a stream. They are cumulative: a later figure replaces an earlier one and is never added.

Anthropic's ``message_start`` carries the input and a first count of the output, each ``message_delta`` the
output so far; Gemini repeats the whole object in every chunk. Adding them up counts tokens twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from insula.usage.tokens import Tokens


class StreamedUsage:
    """The figures so far. ``normalise`` reads them: ``Tokens.from_anthropic``, ``Tokens.from_gemini``."""

    def __init__(self, normalise: Callable[[Mapping[str, Any]], Tokens]) -> None:
        self._normalise = normalise
        self._figures: dict[str, Any] = {}

    def take(self, usage: Mapping[str, Any]) -> None:
        """Let the figures of ``usage`` replace those known. What it leaves out, or says is null, stays."""
        for name, value in usage.items():
            if value is not None:
                self._figures[name] = value

    def tokens(self) -> Tokens:
        """Return what was used so far. Raises ``InvalidRequest`` while a main figure is missing."""
        return self._normalise(self._figures)
