"""Text that agents and tenants chose, made safe to print: no escape sequence reaches the terminal. Pure."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Return ``text`` with control characters other than newline and tab made visible.

    Bidirectional overrides are among them: they could show one command and copy another.
    """
    return _CONTROL.sub(lambda found: _visible(found.group()), text.replace("\r\n", "\n"))


def _visible(char: str) -> str:
    return chr(0x2400 + ord(char)) if ord(char) < 0x20 else "\ufffd"
