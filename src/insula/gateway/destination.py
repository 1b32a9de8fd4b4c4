"""Where a request wants to go. There is one place it can: here. Pure.

Agents may use the door as their HTTP(S) proxy. Then other destinations show as CONNECT, as a URL in the
request line, or as a foreign ``Host``: each is refused by name, so that a program's author sees why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from insula.kernel.errors import Denied, InvalidRequest

if TYPE_CHECKING:
    from insula.gateway.wire import Request

RULE = "egress.denied"
DOOR_HOSTS = frozenset({b"127.0.0.1", b"localhost", b"[::1]", b"insula", b"door"})


def own_target(request: Request, own_hosts: frozenset[bytes] | None) -> bytes:
    """Return the path asked for, without its query.

    ``own_hosts`` are the names we answer to (``None``: any; then a URL in the request line is foreign).
    Raises ``Denied`` (rule ``egress.denied``) for any other destination.
    """
    target = request.target
    if request.method == b"CONNECT":
        raise _denied(target)
    if not target.startswith(b"/"):
        target = _from_url(target, own_hosts)
    elif own_hosts is not None:
        host = request.headers.get(b"host", b"localhost")
        if hostname(host) not in own_hosts:
            raise _denied(host)
    return target.partition(b"?")[0] if b"?" in target else target


def _from_url(target: bytes, own_hosts: frozenset[bytes] | None) -> bytes:
    """Return the path of ``http://us/path``: what a client sends that uses the door as proxy to the door."""
    scheme, found, rest = target.partition(b"://")
    if not found:
        raise InvalidRequest("the request names no path", hint="begin the path with /", field="path")
    authority, slash, path = rest.partition(b"/")
    if scheme.lower() != b"http" or own_hosts is None or hostname(authority) not in own_hosts:
        raise _denied(authority)
    return slash + path or b"/"


def hostname(authority: bytes) -> bytes:
    """Return the host of ``host[:port]`` in lower case. ``user@`` stays in, so that it never matches."""
    if authority.startswith(b"["):
        return authority.partition(b"]")[0].lower() + b"]"
    return authority.partition(b":")[0].lower()


def _denied(where: bytes) -> Denied:
    shown = where.decode("latin-1")[:200]
    return Denied(
        f"{shown} cannot be reached from here: the only way out is the model API",
        hint="use the base URL that the environment gives; other destinations are not allowed",
        rule=RULE,
        target=shown,
    )
