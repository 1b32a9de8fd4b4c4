"""Paths of the control plane from words that somebody typed. Pure."""

from __future__ import annotations

from urllib.parse import quote

from insula.kernel.errors import InvalidRequest


def path(*parts: str) -> str:
    """Return ``/a/b/c``, each part escaped, so that no part can name anything but itself.

    Raises ``InvalidRequest`` for a part that could not be one: empty, ``.`` or ``..``.
    """
    for part in parts:
        if part in {"", ".", ".."}:
            raise InvalidRequest(f"{part!r} is not a name", hint="give the name as `list` shows it")
    return "/" + "/".join(quote(part, safe="") for part in parts)
