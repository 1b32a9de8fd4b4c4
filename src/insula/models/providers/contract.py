"""What the gateway and a provider say to each other about one call in flight."""

from __future__ import annotations

from typing import Protocol

from insula.kernel.errors import InsulaError


class Sink(Protocol):
    """Receives one response. Exactly one of ``on_end`` and ``on_failed`` closes it, unless cancelled."""

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The status and the headers (names in lower case) have arrived."""
        ...

    def on_data(self, data: bytes) -> None:
        """A part of the body, framing removed."""
        ...

    def on_end(self) -> None:
        """The body is complete."""
        ...

    def on_failed(self, error: InsulaError) -> None:
        """The call broke: ``ModelFailed``, ``ModelTimedOut`` or ``Overloaded``."""
        ...


class Flight(Protocol):
    """One call on its way."""

    def cancel(self) -> None:
        """Stop it now; the sink hears nothing more. Closes the connection, which tells the server."""
        ...

    def pause(self) -> None:
        """Take no more of the body until ``resume``: pressure reaches the server through TCP."""
        ...

    def resume(self) -> None:
        """Take the body again."""
        ...
