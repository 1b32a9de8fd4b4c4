"""The duties of pid 1: forward signals, reap the dead, end with the program's status."""

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` and `signal` would cost more than this whole file
    import signal as _signal
    from _socket import socket
    from typing import NoReturn

    from .relay import Relay
else:
    import _signal

_FORWARDED = (
    _signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT,
    _signal.SIGUSR1, _signal.SIGUSR2, _signal.SIGWINCH, _signal.SIGCONT,
)  # fmt: skip


def serve(child: int, listener: "socket", door: str) -> "NoReturn":
    """Relay, forward signals and reap until ``child`` ends; exit with its status.

    The status is the program's exit code, or 128 plus the signal that ended it. Signals were blocked
    before the fork, so none is lost between it and here. The relay is loaded when somebody first
    connects: a program that calls no model does not pay for it, and none waits for it at its start.
    """
    epoll = select.epoll()
    waking = _wake_on_signals()
    epoll.register(waking, select.EPOLLIN)
    epoll.register(listener.fileno(), select.EPOLLIN)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, _signal.valid_signals())
    relay: Relay | None = None
    while True:
        for descriptor, events in epoll.poll(relay.patience_s if relay else -1):
            if descriptor == waking:
                _attend(waking, child)
            else:
                relay = relay or _relay(epoll, listener, door)
                relay.handle(descriptor, events)
        if relay:
            relay.try_again()


def _relay(epoll: select.epoll, listener: "socket", door: str) -> "Relay":
    from .relay import Relay

    return Relay(epoll, listener, door)


def _wake_on_signals() -> int:
    """Return a descriptor from which the number of each arriving signal can be read, a byte each.

    Handlers alone would not do: one that arrives just before a wait begins is only run when the wait ends.
    """
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (*_FORWARDED, _signal.SIGCHLD):
        _signal.signal(number, _nothing)
    return reading


def _nothing(number: int, frame: object) -> None:
    """The number is already in the pipe."""


def _attend(waking: int, child: int) -> None:
    for number in os.read(waking, 512):
        if number in _FORWARDED:
            os.kill(child, number)
    _reap(child)


def _reap(child: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
