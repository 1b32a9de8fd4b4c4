"""Carries bytes between TCP connections on 127.0.0.1 and the door, unread and unchanged.

One thread, one epoll. Each direction of a connection holds at most one chunk: a source is read only
when its last chunk has left, so a slow reader slows its own writer and memory stays bounded. A closed
writing side is passed on as such (half-close), and a broken connection breaks its twin.
"""

import _socket
import select

CHUNK = 65536
CONNECTIONS = 256
RETRY_S = 0.01

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_BODY = b'{"error":{"code":"door_closed","type":"unavailable","message":"the door of this run is closed"}}'
_CLOSED_DOOR = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class End:
    """One socket of a pair: what waits to be sent to it, and whether its peer has finished writing."""

    __slots__ = ("events", "finished", "pending", "shut", "socket", "twin")

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket
        self.twin: End = self
        self.pending: memoryview | None = None
        self.finished = False  # its peer writes no more
        self.shut = False  # we write to it no more
        self.events = 0


class Relay:
    """Serves ``listener``, which ``epoll`` watches already; ``door`` is the path of the Unix socket."""

    def __init__(self, epoll: select.epoll, listener: _socket.socket, door: str) -> None:
        self._epoll = epoll
        self._listener = listener
        self._door = door
        self._ends: dict[int, End] = {}
        self._undelivered: list[_socket.socket] = []
        self._listening = True

    @property
    def patience_s(self) -> float:
        """How long to wait for events at most before ``try_again``; -1: for ever."""
        return RETRY_S if self._undelivered else -1

    def handle(self, descriptor: int, events: int) -> None:
        """Act on what ``epoll`` reported of a descriptor."""
        end = self._ends.get(descriptor)
        if end:
            self._carry(end, events)
        elif descriptor == self._listener.fileno():
            self._accept()

    def try_again(self) -> None:
        """Connect those whom the door had no room for."""
        if self._undelivered:
            waiting, self._undelivered = self._undelivered, []
            for client in waiting:
                self._connect(client)

    # -- connections ---------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return
        except OSError:  # out of descriptors: wait until a connection ends
            self._listen(not self._ends)
            return
        client = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, descriptor)
        client.setblocking(False)
        client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._connect(client)

    def _connect(self, client: _socket.socket) -> None:
        door = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        try:
            door.connect(self._door)
        except BlockingIOError:  # the door's queue is full: it takes a moment
            door.close()
            self._undelivered.append(client)
        except OSError:
            door.close()
            _refuse(client)
        else:
            self._pair(End(client), End(door))
        full = len(self._ends) // 2 + len(self._undelivered) >= CONNECTIONS
        self._listen(not full)

    def _pair(self, client: End, door: End) -> None:
        client.twin, door.twin = door, client
        for end in (client, door):
            self._ends[end.socket.fileno()] = end
            self._watch_for(end)

    def _listen(self, wanted: bool) -> None:
        if wanted != self._listening:
            self._listening = wanted
            if wanted:
                self._epoll.register(self._listener.fileno(), _IN)
            else:
                self._epoll.unregister(self._listener.fileno())

    def _part(self, end: End) -> None:
        """Close both ends."""
        for each in (end, end.twin):
            descriptor = each.socket.fileno()
            if self._ends.pop(descriptor, None):
                if each.events:
                    self._epoll.unregister(descriptor)
                each.socket.close()
        self._listen(True)

    # -- bytes ---------------------------------------------------------------------------------------

    def _carry(self, end: End, events: int) -> None:
        try:
            if end.pending is not None and events & ~_IN:
                self._send(end, end.pending)
            if end.twin.pending is None and not end.finished and events & ~_OUT:
                self._receive(end)
        except BlockingIOError:
            pass
        except OSError:
            self._part(end)
            return
        if end.shut and end.twin.shut:
            self._part(end)
            return
        self._watch_for(end)
        self._watch_for(end.twin)

    def _receive(self, end: End) -> None:
        chunk = end.socket.recv(CHUNK)
        if chunk:
            self._send(end.twin, memoryview(chunk))
        else:
            end.finished = True
            self._shut(end.twin)

    def _send(self, end: End, chunk: memoryview) -> None:
        try:
            sent = end.socket.send(chunk)
        except BlockingIOError:
            sent = 0
        end.pending = chunk[sent:] if sent < len(chunk) else None
        if end.pending is None and end.twin.finished:
            self._shut(end)

    def _shut(self, end: End) -> None:
        if end.pending is None and not end.shut:
            end.shut = True
            end.socket.shutdown(_socket.SHUT_WR)

    def _watch_for(self, end: End) -> None:
        """Ask for exactly the events that can be acted on; for none, leave the poll altogether.

        A socket that is polled for nothing still reports hang-ups, over and over.
        """
        reading = _IN if end.twin.pending is None and not end.finished else 0
        wanted = reading | (_OUT if end.pending is not None else 0)
        if wanted == end.events:
            return
        descriptor = end.socket.fileno()
        if not end.events:
            self._epoll.register(descriptor, wanted)
        elif wanted:
            self._epoll.modify(descriptor, wanted)
        else:
            self._epoll.unregister(descriptor)
        end.events = wanted


def _refuse(client: _socket.socket) -> None:
    try:
        client.send(_CLOSED_DOOR)
    except OSError:
        return
    finally:
        client.close()
