"""The contract of a way to wall a process off, seen from inside the process that is being walled off."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import ClassVar, NoReturn, Protocol

from insula.sandbox.limits import Limits
from insula.sandbox.payload import Order

HOSTNAME = "sandbox"
AGENT = "/agent"


@dataclass(frozen=True, slots=True)
class Missing:
    """Something the host does not give, and what the operator can do about it."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Shared:
    """What the spawner computed once for all sandboxes."""

    bpf: bytes
    read_only: tuple[str, ...]
    hidden: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Birth:
    """What a recipe needs to finish one sandbox. ``line`` leads back to the spawner."""

    uid: int
    order: Order
    limits: Limits
    line: socket.socket
    shared: Shared


class Recipe(Protocol):
    """One rung of the ladder. ``name`` is the rung's; instances hold nothing.

    ``clone_flags`` are the namespaces that the process is born into, ``seat_flags`` those that it enters
    before it knows whom it is for. ``spare_pids`` processes belong to the recipe itself. ``speaks`` says
    that an exit status only counts if the line carried an ``exit-code`` too, ``filtered`` that it loads the
    system call filter.
    """

    name: ClassVar[str]
    clone_flags: ClassVar[int]
    seat_flags: ClassVar[int]
    spare_pids: ClassVar[int]
    speaks: ClassVar[bool]
    filtered: ClassVar[bool]

    def missing(self, bpf: bytes | None) -> list[Missing]:
        """Try the host for real (``bpf`` is ``None`` without libseccomp) and return what it lacks."""
        ...

    def enter(self, birth: Birth) -> NoReturn:
        """Called as root, the root assembled at ``STAGE``, stdio in place: wall off, drop, execute."""
        ...
