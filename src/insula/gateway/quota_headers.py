"""``x-ratelimit-*``: where the caller stands, on every response. Pure.

Reset times are durations as Go prints them (``12ms``, ``1.5s``, ``6m0s``): that is what SDKs parse.
"""

from __future__ import annotations

from insula.governance import Quota, Standing


def lines(standing: Standing) -> bytes:
    """Return the header lines for the tightest limits; nothing for what no level limits."""
    requests, tokens = standing
    text = ""
    if requests is not None:
        text = _quota(requests, "requests")
    if tokens is not None:
        text += _quota(tokens, "tokens")
    return text.encode("ascii")


def _quota(quota: Quota, what: str) -> str:
    limit, remaining, reset_us = quota
    return (
        f"x-ratelimit-limit-{what}: {limit}\r\nx-ratelimit-remaining-{what}: {remaining}\r\n"
        f"x-ratelimit-reset-{what}: {duration(reset_us)}\r\n"
    )


def duration(microseconds: int) -> str:
    """Return a Go duration, rounded up to milliseconds: ``0s``, ``12ms``, ``1.5s``, ``6m0s``, ``1h0m0s``."""
    ms = -(-microseconds // 1000)
    if ms <= 0:
        return "0s"
    if ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    seconds = f"{ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if not minutes:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"
