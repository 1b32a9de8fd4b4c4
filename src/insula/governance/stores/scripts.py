"""The Lua scripts: one for each kind of decision, each put together from the parts it needs."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

from insula.governance.stores.wire import bulk, command


class Script:
    """A script, and how it is called."""

    def __init__(self, name: str, *parts: str) -> None:
        lua = files("insula.governance.stores") / "lua"
        texts = [(lua / f"{part}.lua").read_text() for part in (*parts, name)]
        self.text = "\n".join(texts).encode()
        self.load = command(b"SCRIPT", b"LOAD", self.text)
        self._sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()
        self._heads: dict[tuple[int, int], bytes] = {}

    def head(self, keys: int, arguments: int) -> bytes:
        """Return the beginning of a call, to be followed by so many keys and arguments as bulk strings."""
        found = self._heads.get((keys, arguments))
        if found is None:
            start = b"*%d\r\n" % (3 + keys + arguments)
            found = start + bulk(b"EVALSHA", self._sha, b"%d" % keys)
            self._heads[keys, arguments] = found
        return found


HELLO: Final = Script("hello", "level")
RESERVE: Final = Script("reserve", "level", "meter", "budget", "call", "expiry")
EXTEND: Final = Script("extend", "level", "meter", "budget", "call")
SETTLE: Final = Script("settle", "level", "meter", "call")
REGISTER: Final = Script("register", "level", "meter", "call")
EXPIRE: Final = Script("expire", "level", "meter", "call", "expiry")
TIDY: Final = Script("tidy", "level")
ADJUST: Final = Script("adjust", "level", "meter")
REPORT: Final = Script("report", "level", "meter")
LEND: Final = Script("lend", "level", "meter")
BORROW: Final = Script("borrow", "level", "meter")

ALL: Final = (HELLO, RESERVE, EXTEND, SETTLE, REGISTER, EXPIRE, TIDY, ADJUST, REPORT, LEND, BORROW)
