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
from insula.cli.place import Place
from insula.kernel.errors import Misconfigured, Unauthenticated
from insula.settings import Settings, load

if TYPE_CHECKING:
    from insula.wiring import Platform
    from insula.wiring.home import Home


def run_up(place: Place, **flags: Any) -> None:
    """Run a platform in ``place.home`` until SIGTERM or Ctrl-C. Raises ``Misconfigured``."""
    import uvloop

    from insula.logs import configure
    from insula.wiring.home import Home

    settings = load(home=place.home, **flags)
    configure(settings.log_level, as_json=settings.log_json)
    home = Home(settings.home).prepare()
    lock = home.lock()
    try:
        with listening(settings.host, settings.port) as control:
            uvloop.run(_serve(settings, home, control, as_json=place.as_json))
    finally:
        os.close(lock)


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


async def _serve(settings: Settings, home: Home, control: socket.socket, *, as_json: bool) -> None:
    from insula.wiring import Platform

    stopping = _on_signals()
    host, port = control.getsockname()[:2]
    platform = Platform(settings)
    platform.api_url = f"http://{_bracketed(host)}:{port}"
    try:
        await platform.start()
    except OSError as error:
        raise busy(error, settings.host, settings.gateway_port, "gateway_port") from None
    try:
        await _answer(platform, home, control, stopping, as_json=as_json)
    finally:
        await platform.stop()


async def _answer(
    platform: Platform, home: Home, control: socket.socket, stopping: asyncio.Event, *, as_json: bool
) -> None:
    from insula.api.app import create_app
    from insula.cli.serving import server_of

    server = server_of(create_app(platform))
    serving = asyncio.create_task(server.serve(sockets=[control]))
    token = operator_token(platform, home)
    about = {"api": platform.api_url, "gateway": platform.gateway_url, "pid": os.getpid()}
    home.announce(about)
    try:
        _tell({**about, "token": token}, platform.settings, as_json=as_json)
        await _until(stopping, serving)
        if stopping.is_set():
            show.say("draining: no new runs are taken; Ctrl-C again stops at once")
            await platform.drain()
    finally:
        home.hush()
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


def operator_token(platform: Platform, home: Home) -> str:
    """Return the token in the home; make one when there is none, or none that still works."""
    try:
        token = home.operator_token.read_text().strip()
        platform.credentials.resolve(token)
    except (OSError, UnicodeDecodeError, Unauthenticated):
        token = platform.credentials.create_operator("this machine").secret
        home.write_private(home.operator_token, token + "\n")
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
