"""Audiences: the one layer that a signed claim is meant for.

Marker types, so the type checker sees a mix-up.
"""

from __future__ import annotations

from typing import ClassVar


class Audience:
    """Base of the markers; never instantiated. ``name`` is the value of the ``aud`` claim."""

    name: ClassVar[str]


class Gateway(Audience):
    name = "insula:gateway"


class Runs(Audience):
    name = "insula:runs"


class Storage(Audience):
    name = "insula:storage"


class Sandboxes(Audience):
    name = "insula:sandboxes"


class Usage(Audience):
    name = "insula:usage"
