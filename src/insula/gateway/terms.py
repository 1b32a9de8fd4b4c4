"""On which terms a call wants to be served: headers that a caller may send with any request. Pure."""

from __future__ import annotations

from typing import NamedTuple

from insula.governance.fairness import Lane, parse_lane
from insula.kernel.errors import InvalidRequest
from insula.kernel.ids import app_name

LONGEST_WAIT_S = 3_600.0


class Terms(NamedTuple):
    """``app`` names the application that calls, ``max_wait_s`` how long it would rather wait than be refused.

    ``None`` leaves each to the platform.
    """

    lane: Lane | None = None
    app: str | None = None
    max_wait_s: float | None = None


_NONE = Terms()


def read_terms(headers: dict[bytes, bytes]) -> Terms:
    """Return the terms that a request's headers state. Raises ``InvalidRequest`` naming the header."""
    lane, app = headers.get(b"x-insula-lane"), headers.get(b"x-insula-app")
    wait = headers.get(b"x-insula-max-wait")
    if lane is None and app is None and wait is None:
        return _NONE
    return Terms(
        None if lane is None else parse_lane(lane.decode("latin-1"), "x-insula-lane"),
        None if app is None else _app(app),
        None if wait is None else _wait(wait),
    )


def _app(text: bytes) -> str:
    try:
        return app_name(text.decode("latin-1").strip())
    except InvalidRequest as error:
        raise InvalidRequest(
            f"x-insula-app: {error.message}", hint=error.hint, field="x-insula-app"
        ) from None


def _wait(text: bytes) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_WAIT_S:
        raise InvalidRequest(
            f"x-insula-max-wait is {text.decode('latin-1')[:40]!r}",
            hint=f"give seconds from 0 to {LONGEST_WAIT_S:g}; 0 never waits",
            field="x-insula-max-wait",
        )
    return seconds
