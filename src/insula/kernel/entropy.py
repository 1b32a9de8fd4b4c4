"""Randomness. The only module that asks the host for it."""

from __future__ import annotations

import secrets


def token_bytes(count: int) -> bytes:
    """Return ``count`` bytes fit for keys."""
    return secrets.token_bytes(count)


def token_text(count: int = 32) -> str:
    """Return a URL-safe secret of ``count`` random bytes."""
    return secrets.token_urlsafe(count)
