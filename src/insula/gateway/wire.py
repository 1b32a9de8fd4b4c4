"""What arrives on the wire, and how much of it is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from insula.kernel.errors import CallerError

if TYPE_CHECKING:
    from insula.gateway.caller import Identity

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Bounds of one listening place (a door or the public listener): bytes, counts, seconds.

    ``buffered_bytes`` bounds the request bodies that all its connections hold together;
    ``body_s`` is for the whole body, whatever its pace; ``stall_s`` is for a caller that stops reading.
    """

    head_bytes: int = 32 * 1024
    headers: int = 100
    body_bytes: int = 8 * MIB
    buffered_bytes: int = 32 * MIB
    connections: int = 64
    pipelined: int = 16
    head_s: float = 10.0
    body_s: float = 60.0
    idle_s: float = 75.0
    stall_s: float = 60.0


PUBLIC_LIMITS = WireLimits(buffered_bytes=256 * MIB, connections=4096)


class Request:
    """One request as parsed. Header names are in lower case; a repeated header keeps its last value."""

    __slots__ = ("awaited", "body", "headers", "http11", "identity", "keep_alive", "method", "target")

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.http11 = True
        self.keep_alive = True
        self.identity: Identity | None = None  # who sent it, once that was verified
        self.awaited = False  # its body did not come with its head


class SlowRequest(CallerError):
    """The request did not arrive in time."""

    code = "request_timeout"
    status = 408


class HeadTooLong(CallerError):
    """The request line and headers exceed their bound."""

    code = "head_too_large"
    status = 431


class MethodNotAllowed(CallerError):
    """The path exists, but not for this method."""

    code = "method_not_allowed"
    status = 405
