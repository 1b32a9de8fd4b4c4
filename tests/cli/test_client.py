"""The client against answers that no platform would give, and the events of a stream."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from insula.cli.client import Client, Event, error_of, parse_events
from insula.kernel.errors import Denied, NotFound, PlatformNotRunning, RateLimited, Unauthenticated


def test_events_keep_their_number_and_kind() -> None:
    lines = [": hello", "", "id: 7", "event: output", 'data: {"text": "a: b"}', "", "id: 8", "data: {}", ""]
    assert list(parse_events(iter(lines))) == [Event(7, "output", {"text": "a: b"}), Event(8, "message", {})]


def test_an_event_cut_by_a_lost_connection_is_not_told() -> None:
    assert list(parse_events(iter(["id: 7", "event: output", 'data: {"te']))) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("not_found", NotFound),
        ("denied", Denied),
        ("unauthenticated", Unauthenticated),
        ("rate_limited", RateLimited),
    ],
)
def test_a_problem_becomes_the_error_that_the_platform_raised(code: str, kind: type[Exception]) -> None:
    body = {
        "code": code,
        "detail": "no",
        "hint": "do",
        "field": "f",
        "request_id": "req_1",
        "details": {"level": "x"},
    }
    error = error_of(400, json.dumps(body).encode())
    assert isinstance(error, kind)
    assert (error.message, error.hint, error.field) == ("no", "do", "f")
    assert error.details == {"request_id": "req_1", "level": "x"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"detail": "x"}', b"null", b"\xff"])
def test_an_answer_that_is_no_problem_document_is_told_apart(body: bytes) -> None:
    assert isinstance(error_of(502, body), PlatformNotRunning)


@pytest.fixture
def stranger() -> Iterator[str]:
    """A server that is no platform."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_something_else_at_the_address_is_named_as_such(stranger: str) -> None:
    with (
        Client(stranger, "t", remote=True) as client,
        pytest.raises(PlatformNotRunning, match="not from a platform"),
    ):
        client.get("/tenants")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://127.0.0.1:99999", "nonsense", "ftp://x", "http://[::"]
)
def test_an_address_where_nobody_answers_is_an_error_with_a_hint(url: str) -> None:
    with pytest.raises(PlatformNotRunning) as caught, Client(url, "t", remote=True) as client:
        client.get("/tenants")
    assert caught.value.hint
