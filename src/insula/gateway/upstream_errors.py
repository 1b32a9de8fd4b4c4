"""What a model server's refusal becomes for the caller. Pure.

The caller's own mistakes pass with the server's words. Trouble between the platform and the server (its key,
its quota, its failures) is told without them: such messages name accounts and parts of keys.
"""

from __future__ import annotations

import json
import re

from insula.kernel.errors import InsulaError, InvalidRequest, ModelFailed, ModelTimedOut

_CALLERS = frozenset({400, 404, 409, 413, 415, 422})
_CODE = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_LONGEST_WAIT_S = 3600.0


def translate(status: int, headers: dict[bytes, bytes], body: bytes) -> InsulaError:
    """Return the error for a response with another status than 200."""
    if status in _CALLERS:
        message, code = _words(body)
        return InvalidRequest(
            f"the model server refused the request: {message}", code=code, upstream_status=status
        )
    if status == 429:
        return ModelFailed(
            "the model server is at its limit",
            hint="try again later",
            retry_after_s=wait_of(headers) or 1.0,
            status=429,
            upstream_status=status,
        )
    if status in {401, 403, 402}:
        return ModelFailed(
            "the model server does not accept the platform's credentials",
            hint="the operator must check the endpoint's key",
            upstream_status=status,
        )
    if status in {408, 504}:
        return ModelTimedOut("the model server gave up waiting", hint="try again", upstream_status=status)
    return ModelFailed(
        f"the model server failed (status {status})",
        hint="try again",
        retry_after_s=wait_of(headers),
        upstream_status=status,
    )


def compressed() -> ModelFailed:
    """The server compressed its answer although nobody offered to read that."""
    return ModelFailed("the model server sent a compressed answer unasked")


def too_large() -> ModelFailed:
    """The answer exceeds every reasonable size."""
    return ModelFailed("the model server's answer is too large")


def unreadable() -> ModelFailed:
    """The answer is not what the format says."""
    return ModelFailed("the model server's answer is not a JSON object")


def _words(body: bytes) -> tuple[str, str]:
    """Return the server's message and code, bounded; what cannot be read is left out."""
    try:
        error = json.loads(body)["error"]
        message, code = error["message"], error.get("code") or error.get("type")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "no reason given", "invalid_request"
    known = code if isinstance(code, str) and _CODE.fullmatch(code) else "invalid_request"
    if known == "exceed_context_size_error":
        known = "context_length_exceeded"
    return str(message)[:500], known


def wait_of(headers: dict[bytes, bytes]) -> float | None:
    """Return how long the server asks to wait, in seconds; ``None`` if it does not say."""
    for name, unit in ((b"retry-after-ms", 1000.0), (b"retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds <= _LONGEST_WAIT_S:
            return seconds
    return None
