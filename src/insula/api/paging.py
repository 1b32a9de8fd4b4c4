"""Pages of a list that is already in memory. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def paged(
    items: Sequence[T], key: Callable[[T], str], cursor: str | None, limit: int
) -> tuple[list[T], str | None]:
    """Return up to ``limit`` items whose key comes after ``cursor``, and the next cursor or ``None``.

    Sorted by ``key``, which must be unique: an item that appears or goes between two pages never makes
    another one appear twice or get lost.
    """
    after = sorted((item for item in items if cursor is None or key(item) > cursor), key=key)
    page = after[:limit]
    return page, key(page[-1]) if len(after) > limit else None
