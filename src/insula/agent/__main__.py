"""Pid 1: ``python3 /run/insula/agent/__main__.py -- PROGRAM ARGS…``.

In this order, because the program should start at once and still find its port open:

1. listen on 127.0.0.1 (only the C module of sockets: ``import socket`` alone costs 5 ms);
2. fork: the child becomes the program;
3. only then load the relay, while the program already runs on the other core.
"""

import _socket
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `signal` would cost more than this whole file
    import signal as _signal
else:
    import _signal

HOME = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib would cost 4 ms
PORT = 8700
BACKLOG = 256

if not __package__:  # run as a file or folder: give the modules beside this one a name of their own
    _package = type(sys)("insula_agent")
    _package.__path__ = [HOME]
    sys.modules["insula_agent"] = _package
    __package__ = "insula_agent"
    __spec__ = None


def main(arguments: list[str]) -> None:
    """Start the program named after ``--`` and serve it until it ends; exits with its status."""
    if not arguments or arguments[0] != "--" or not arguments[1:]:
        sys.exit("usage: python3 /run/insula/agent -- PROGRAM [ARGUMENT …]")
    listener = listen(int(os.environ.get("INSULA_PORT") or PORT))
    blocked = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    child = os.fork()
    if child == 0:
        listener.close()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, blocked)
        from .program import become

        become(arguments[1:], HOME)
    else:
        from .init import serve

        serve(child, listener, os.environ.get("INSULA_DOOR") or "/run/insula/door.sock")


def listen(port: int) -> "_socket.socket":
    """Return a listening socket on 127.0.0.1.

    Where the port is taken (a sandbox without a network of its own shares the host's), any free one is
    used instead and the addresses in the environment are corrected.
    """
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    taken = listener.getsockname()[1]
    if taken != port:
        for name, value in os.environ.items():
            os.environ[name] = value.replace(f"127.0.0.1:{port}", f"127.0.0.1:{taken}")
        os.environ["INSULA_PORT"] = str(taken)
    return listener


if __name__ == "__main__":
    main(sys.argv[1:])
