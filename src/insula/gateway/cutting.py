"""The end of a stream that a budget cut: what a model server sends when ``max_tokens`` is reached. Pure."""

from __future__ import annotations

import json
from typing import Any

from insula.usage import Tokens

_COPIED = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


def cut_short(opening: bytes, tokens: Tokens, *, copies: int, usage: bool) -> bytes:
    """Return the events that end a stream of OpenAI's format with ``finish_reason: "length"``.

    ``opening`` is the stream's first event, whose identity the last ones share. ``usage`` adds the event
    with the figures, for a caller who asked for it.
    """
    envelope = _envelope(opening)
    text = envelope.get("object") == "text_completion"
    nothing: dict[str, Any] = {"text": ""} if text else {"delta": {}}
    choices = [{"index": at, **nothing, "finish_reason": "length"} for at in range(copies)]
    found = _event({**envelope, "choices": choices})
    if usage:
        figures = {
            "prompt_tokens": tokens.input,
            "completion_tokens": tokens.output,
            "total_tokens": tokens.total,
        }
        found += _event({**envelope, "choices": [], "usage": figures})
    return found + b"data: [DONE]\n\n"


def _envelope(opening: bytes) -> dict[str, Any]:
    _, _, text = opening.partition(b"data:")
    try:
        first = json.loads(text)
    except ValueError:
        first = {}
    first = first if isinstance(first, dict) else {}
    return {name: first[name] for name in _COPIED if name in first}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode("ascii") + b"\n\n"
