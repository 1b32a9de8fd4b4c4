"""``insula up``: one process, one event loop, the control plane and everything below it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

from insula.cli import show
from insula.cli.home import announced, claimed, write_private
from insula.cli.place import Place
from insula.kernel.errors import Misconfigured, Unauthenticated
from insula.settings import Settings, load

if TYPE_CHECKING:
    from insula.wiring import Platform


_NOT_OURS_TO_LISTEN_AT = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES})


def run_up(place: Place, **flags: Any) -> None:
    """Run a platform in ``place.home`` until SIGTERM or Ctrl-C. Raises ``Misconfigured``."""
    import uvloop

    from insula.logs import configure

    settings = load(home=place.home, **flags)
    configure(settings.log_level, as_json=settings.log_json)
    with claimed(settings.home), listening(settings.host, settings.port) as control:
        uvloop.run(_serve(settings, control, as_json=place.as_json))


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at ``host:port``. Raises ``Misconfigured`` naming the fix."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise busy(error, host, port, "port") from None
    return listener


def busy(error: OSError, host: str, port: int, field: str) -> Misconfigured:
    """Return what to say when ``host:port`` can't be listened at."""
    flag = f"--{field.replace('_', '-')}"
    if error.errno == errno.EADDRINUSE:
        message, hint = (
            f"port {port} on {host} is in use",
            f"stop what listens there, or choose {flag} N (0 picks one)",
        )
    elif error.errno == errno.EACCES:
        message, hint = f"port {port} needs more rights than this user has", f"choose {flag} above 1023"
    else:
        message = f"can't listen at {host}:{port}: {(error.strerror or str(error)).lower()}"
        hint = "give --host an address of this machine, such as 127.0.0.1"
    return Misconfigured(message, hint=hint, field=field)


async def _serve(settings: Settings, control: socket.socket, *, as_json: bool) -> None:
    from insula.wiring import Platform

    stopping = _on_signals()
    host, port = control.getsockname()[:2]
    platform = Platform(settings)
    platform.api_url = f"http://{_bracketed(host)}:{port}"
    try:
        await _start(platform, settings)
        await _answer(platform, control, stopping, as_json=as_json)
    finally:
        await platform.stop()


async def _start(platform: Platform, settings: Settings) -> None:
    try:
        await platform.start()
    except OSError as error:
        if error.errno not in _NOT_OURS_TO_LISTEN_AT:
            raise
        raise busy(error, settings.host, settings.gateway_port, "gateway_port") from None


async def _answer(
    platform: Platform, control: socket.socket, stopping: asyncio.Event, *, as_json: bool
) -> None:
    from insula.api.app import create_app
    from insula.cli.serving import server_of

    server = server_of(create_app(platform))
    serving = asyncio.create_task(server.serve(sockets=[control]))
    token = operator_token(platform)
    about = {"api": platform.api_url, "gateway": platform.gateway_url, "pid": os.getpid()}
    with announced(platform.settings.home, about):
        _tell({**about, "token": token}, platform.settings, as_json=as_json)
        await _until(stopping, serving)
        if stopping.is_set():
            show.say("draining: no new runs are taken; Ctrl-C again stops at once")
            await platform.drain()
    server.should_exit = True
    await serving


async def _until(stopping: asyncio.Event, serving: asyncio.Task[None]) -> None:
    """Wait for the signal to stop, or for the server to fail."""
    ended = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()


def _on_signals() -> asyncio.Event:
    """Return the event that the first SIGTERM or Ctrl-C sets; a second one ends the process at once."""
    stopping = asyncio.Event()

    def on_signal(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    return stopping


def operator_token(platform: Platform) -> str:
    """Return the token in the home; make one when there is none, or none that still works."""
    path = platform.settings.home / "operator.token"
    try:
        token = path.read_text().strip()
        platform.credentials.resolve(token)
    except (OSError, UnicodeDecodeError, Unauthenticated):
        token = platform.credentials.create_operator("this machine").secret
        write_private(path, token + "\n")
    return token


def _tell(about: dict[str, Any], settings: Settings, *, as_json: bool) -> None:
    if as_json:
        order = ("api", "gateway", "token", "pid")
        print(json.dumps({name: about[name] for name in order}), flush=True)  # noqa: T201
        return
    show.say(f"insula is up, trust={settings.trust.value}, home {settings.home}")
    show.facts(
        {"api": about["api"], "gateway": f"{about['gateway']}/v1", "token": settings.home / "operator.token"}
    )
    show.say("next: insula tenant create acme --tier pro")
    show.say("      insula agent deploy acme DIR")
    show.say("      insula run acme/AGENT --follow")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
