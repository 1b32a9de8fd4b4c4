"""Slow, huge, malformed, half-closed and pipelined input: refused by name, and no other caller notices."""

# ruff: noqa: E501  (tables of cases read best as one line each)
from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

GET = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture
def door(plane: Any) -> Any:
    return plane.door(plane.tenant("acme"))


@pytest.fixture
def connect(door: Any) -> Iterator[Any]:
    made: list[socket.socket] = []

    def one() -> socket.socket:
        caller = socket.socket(socket.AF_UNIX)
        caller.settimeout(5)
        caller.connect(str(door.path))
        made.append(caller)
        return caller

    yield one
    for caller in made:
        caller.close()


def all_of(caller: socket.socket) -> bytes:
    seen = b""
    try:
        while data := caller.recv(65536):
            seen += data
    except ConnectionError:
        pass
    return seen


def answer(caller: socket.socket) -> tuple[int, dict[str, Any]]:
    """Return status and JSON of one response."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        data = caller.recv(65536)
        assert data, f"closed after {seen!r}"
        seen += data
    head, _, body = seen.partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    while len(body) < size:
        body += caller.recv(65536)
    return int(head.split()[1]), json.loads(body[:size])


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, "invalid_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_request"),
        (b"GET / HTTP/1.1\nhost: a\n\n", 400, "invalid_request"),
        (b"POST /v1/x HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400, "invalid_request"),
        (
            b"POST /v1/x HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "invalid_request",
        ),
        (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n", 400, "invalid_request"),
        (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 9999999\r\n\r\n", 413, "request_too_large"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000 + b"\r\n\r\n", 431, "head_too_large"),
        (b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\n\r\n", 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"h%d: v\r\n" % n for n in range(200)) + b"\r\n", 431, "head_too_large"),
        (b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n", 404, "unknown_url"),
        (b"DELETE /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n", 405, "method_not_allowed"),
        (b"GET /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\r\n", 405, "method_not_allowed"),
        (b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n", 403, "egress.denied"),
        (b"GET http://example.com/ HTTP/1.1\r\nhost: example.com\r\n\r\n", 403, "egress.denied"),
        (b"GET http://localhost@example.com/ HTTP/1.1\r\nhost: localhost\r\n\r\n", 403, "egress.denied"),
        (b"GET https://localhost/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n", 403, "egress.denied"),
        (b"GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\n\r\n", 403, "egress.denied"),
        (b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n", 400, "invalid_request"),
        (b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", 404, "unknown_url"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(connect: Any, sent: bytes, status: int, code: str) -> None:
    caller = connect()
    caller.sendall(sent)
    got, body = answer(caller)
    assert (got, body["error"]["code"]) == (status, code), body
    assert body["error"]["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b'{"model": "m1"', "body"),
        (b"\xff\xfe", "body"),
        (b'{"model":"m1","messages":' + b"[" * 100_000, "body"),
        (b'{"messages":[{"role":"user","content":"x"}]}', "model"),
        (b'{"model":7,"messages":[]}', "model"),
        (b'{"model":"m1"}', "messages"),
        (b'{"model":"m1","messages":[]}', "messages"),
        (b'{"model":"m1","messages":["x"]}', "messages"),
        (b'{"model":"m1","messages":[{"role":"user","content":"x"}],"stream":"yes"}', "stream"),
        (b'{"model":"m1","messages":[{"role":"user","content":"x"}],"max_tokens":-1}', "max_tokens"),
        (b'{"model":"m1","messages":[{"role":"user","content":"x"}],"max_tokens":1.5}', "max_tokens"),
        (b'{"model":"m1","messages":[{"role":"user","content":"x"}],"n":1000000}', "n"),
        (b'{"model":"m1","messages":[{"role":"user","content":"x"}],"stream_options":3}', "stream_options"),
        (b'{"model":"m1","messages":[{"role":"user","content":"x"}],"temperature":NaN}', "body"),
        (b'{"model":"m1","messages":[{"role":"user","content":"x"}],"temperature":1e999}', "body"),
    ],
)
def test_a_wrong_body_names_its_field(connect: Any, plane: Any, body: bytes, field: str) -> None:
    caller = connect()
    caller.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
        + body
    )
    status, error = answer(caller)
    assert (status, error["error"]["param"]) == (400, field), error
    assert not plane.server.seen and plane.governor.in_flight() == 0


def test_pipelined_requests_are_answered_in_order(connect: Any) -> None:
    caller = connect()
    caller.sendall(
        GET.replace(b"/models ", b"/models/m1 ") + GET + b"GET /v1/no HTTP/1.1\r\nhost: localhost\r\n\r\n"
    )
    assert answer_ids(caller, 3) == ["m1", "list", "unknown_url"]


def answer_ids(caller: socket.socket, number: int) -> list[str]:
    seen, found = b"", []
    while len(found) < number:
        head, done, rest = seen.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]) if done else 0
        if not done or len(rest) < size:
            seen += caller.recv(65536)
            continue
        body, seen = json.loads(rest[:size]), rest[size:]
        found.append(body.get("id") or body.get("error", {}).get("code") or body["object"])
    return found


def test_too_many_pipelined_requests_end_the_connection(connect: Any) -> None:
    caller = connect()
    caller.sendall(GET * 300)
    seen = all_of(caller)
    assert seen.count(b"HTTP/1.1 200") == 16
    assert b"too many requests at once on one connection" in seen


def test_an_upgrade_is_declined_and_the_request_answered(connect: Any) -> None:
    caller = connect()
    caller.sendall(
        GET[:-2] + b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n\r\n"
    )
    assert answer(caller)[0] == 200
    caller.sendall(GET)
    assert answer(caller)[0] == 200


def test_chunked_bodies_and_expectations_work(connect: Any, plane: Any) -> None:
    caller = connect()
    body = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "x"}]}).encode()
    caller.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"
        b"expect: 100-continue\r\n\r\n"
    )
    assert caller.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    for byte in body:
        caller.sendall(b"1\r\n%c\r\n" % byte)
    caller.sendall(b"0\r\nx-trailer: 1\r\n\r\n")
    assert answer(caller)[0] == 200
    assert plane.server.seen[-1]["body"]["messages"][0]["content"] == "x"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v1/models HT",
        b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nabc",
    ],
)
def test_who_never_ends_a_request_is_told_and_closed(connect: Any, sent: bytes) -> None:
    caller = connect()
    caller.sendall(sent)
    begun = time.monotonic()
    status, body = answer(caller)
    assert (status, body["error"]["code"]) == (408, "request_timeout")
    assert 0.3 < time.monotonic() - begun < 4
    assert all_of(caller) == b""


def test_dripping_bytes_does_not_buy_time(connect: Any) -> None:
    caller = connect()
    begun = time.monotonic()
    try:
        for byte in GET[:-4] + b"\r\nx: " + b"y" * 1000:
            caller.sendall(bytes([byte]))
            time.sleep(0.02)
            if time.monotonic() - begun > 4:
                break
    except OSError:
        pass
    assert time.monotonic() - begun < 4


def test_endless_trailers_are_cut(connect: Any) -> None:
    caller = connect()
    caller.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    )
    sent = 0
    try:
        for number in range(100_000):
            sent += caller.send(b"t%d: %s\r\n" % (number, b"v" * 1000))
    except OSError:
        pass
    assert sent < 5_000_000


def test_half_closed_callers_are_let_go(connect: Any, plane: Any, door: Any) -> None:
    for sent in (b"", GET[:20], GET):
        caller = connect()
        caller.sendall(sent)
        caller.shutdown(socket.SHUT_WR)
        all_of(caller)
    deadline = time.monotonic() + 5
    while door.site.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not door.site.connections and door.site.buffered == 0


def test_more_connections_than_a_door_takes(connect: Any) -> None:
    kept = [connect() for _ in range(8)]
    extra = connect()
    status, body = answer(extra)
    assert (status, body["error"]["code"]) == (503, "overloaded")
    kept[0].sendall(GET)
    assert answer(kept[0])[0] == 200  # those inside are served as before


def test_bodies_held_at_once_are_bounded(connect: Any, door: Any) -> None:
    door.site.limits = replace(door.site.limits, buffered_bytes=300_000)
    first, second = connect(), connect()
    body = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "x" * 199_900}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
    first.sendall(head + body[:-10])
    while door.site.buffered < len(body) - 10:
        time.sleep(0.005)
    second.sendall(head + body)
    status, error = answer(second)
    assert (status, error["error"]["code"]) == (503, "overloaded")
    first.sendall(body[-10:])
    assert answer(first)[0] == 200
    assert door.site.buffered == 0


def test_a_stranger_to_the_door_gets_nothing(plane: Any) -> None:
    door = plane.door(plane.tenant("acme"), uid=54_321)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(door.path))  # root may connect, and is not the one
        caller.settimeout(5)
        with contextlib.suppress(OSError):
            caller.sendall(GET)
        assert all_of(caller) == b""
    mode = door.path.stat()
    assert (mode.st_mode & 0o777, mode.st_uid) == (0o600, 54_321)


def test_while_one_floods_another_is_served(plane: Any, door: Any) -> None:
    other = plane.door(plane.tenant("bolt"))

    def flood(_number: int) -> None:
        try:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(door.path))
                caller.settimeout(5)
                for _ in range(20):
                    caller.sendall(
                        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 200000\r\n\r\n"
                        + b"x" * 200_000
                    )
                    caller.recv(65536)
        except OSError:
            pass

    waits = []
    with ThreadPoolExecutor(4) as pool:
        attack = [pool.submit(flood, number) for number in range(8)]
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(5)
            caller.connect(str(other.path))
            for _ in range(50):
                begun = time.monotonic()
                caller.sendall(GET)
                assert answer(caller)[0] == 200
                waits.append(time.monotonic() - begun)
        for one in attack:
            one.result()
    assert sorted(waits)[40] < 0.5
