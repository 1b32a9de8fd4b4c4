"""JSON at the least cost: the C scanner and encoder without the layers that the standard library adds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

_write: Callable[[Any, int], tuple[str, ...]] = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
    None,
    json.JSONEncoder().default,
    json.encoder.encode_basestring_ascii,
    None,
    ":",
    ",",
    False,
    False,
    False,
)


def write_object(found: dict[str, Any]) -> bytes:
    """Return ``found`` (parsed JSON, so without cycles) as compact ASCII JSON.

    Raises ``ValueError`` for a number that JSON cannot hold, ``RecursionError`` for absurd nesting.
    """
    return "".join(_write(found, 0)).encode("ascii")


def read_object(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object that ``text`` (UTF-8) is; ``None`` if it is anything else."""
    try:
        whole = text.decode().strip(" \t\r\n")
        found, end = _scan(whole, 0)
    except (ValueError, RecursionError, StopIteration):
        return None
    return found if type(found) is dict and end == len(whole) else None
