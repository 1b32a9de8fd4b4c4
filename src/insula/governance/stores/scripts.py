"""The Lua functions: one for each kind of decision, in one library that the server compiles once.

What decisions share is in ``PARTS``; each file of ``NAMES`` is the body of one function of ``KEYS`` and
``ARGV``. The names carry a digest of the text, so that gateways of different releases can share a server.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

from insula.governance.stores.wire import bulk, command

PARTS: Final = ("level", "meter", "books", "budget", "call", "expiry", "admit")
NAMES: Final = (
    "hello", "reserve", "extend", "settle", "register", "expire", "tidy", "adjust",
    "tell", "join", "report", "lend", "borrow",
)  # fmt: skip

_LUA = files("insula.governance.stores") / "lua"


def _body(name: str) -> str:
    return (_LUA / f"{name}.lua").read_text()


_TEXT = "\n".join(_body(part) for part in PARTS)
_BODIES = {name: _body(name) for name in NAMES}
_DIGEST = hashlib.sha256("".join((_TEXT, *_BODIES.values())).encode()).hexdigest()[:12]


class Script:
    """One function, and how it is called."""

    def __init__(self, name: str) -> None:
        self.function = f"insula_{name}_{_DIGEST}"
        self._heads: dict[tuple[int, int], bytes] = {}

    def head(self, keys: int, arguments: int) -> bytes:
        """Return the beginning of a call, to be followed by so many keys and arguments as bulk strings."""
        found = self._heads.get((keys, arguments))
        if found is None:
            start = b"*%d\r\n" % (3 + keys + arguments)
            found = start + bulk(b"FCALL", self.function.encode(), b"%d" % keys)
            self._heads[keys, arguments] = found
        return found


_SCRIPTS = {name: Script(name) for name in NAMES}
HELLO, RESERVE, EXTEND, SETTLE = (_SCRIPTS[name] for name in NAMES[:4])
REGISTER, EXPIRE, TIDY, ADJUST = (_SCRIPTS[name] for name in NAMES[4:8])
TELL, JOIN, REPORT, LEND, BORROW = (_SCRIPTS[name] for name in NAMES[8:])


def _function(name: str) -> str:
    return f"redis.register_function('{_SCRIPTS[name].function}', function(KEYS, ARGV)\n{_BODIES[name]}\nend)"


LIBRARY: Final = "\n".join((f"#!lua name=insula_{_DIGEST}", _TEXT, *map(_function, NAMES))).encode()
"""The text of the library. It is loaded once; loading it again is refused and does no harm."""

LOAD: Final = command(b"FUNCTION", b"LOAD", LIBRARY)
