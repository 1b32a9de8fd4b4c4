"""Callers that leave: the model server is told at once, what was streamed is paid, nothing stays reserved."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

HEAD = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{auth}content-length: {size}\r\n\r\n"


def request(key: str = "", **more: Any) -> bytes:
    body = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "count"}], **more}).encode()
    auth = f"authorization: Bearer {key}\r\n" if key else ""
    return HEAD.format(auth=auth, size=len(body)).encode() + body


def wait_for(condition: Any, seconds: float = 5.0) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it never came true"
        time.sleep(0.002)
    return time.monotonic() - begun


def read_until(caller: socket.socket, mark: bytes) -> bytes:
    seen = b""
    while mark not in seen:
        data = caller.recv(65536)
        assert data, f"closed after {seen!r}"
        seen += data
    return seen


@pytest.mark.parametrize("by", ["door", "key"])
def test_leaving_in_mid_stream(plane: Any, by: str) -> None:
    acme = plane.tenant("acme")
    plane.server.words, plane.server.pace_s = ["word "] * 500, 0.01
    if by == "door":
        caller: Any = socket.socket(socket.AF_UNIX)
        caller.connect(str(plane.door(acme).path))
        caller.sendall(request(stream=True))
    else:
        caller = socket.create_connection(("127.0.0.1", plane.listener.port))
        caller.sendall(request(plane.key(acme), stream=True))
    read_until(caller, b"word ")
    left = time.monotonic()
    caller.close()
    wait_for(lambda: plane.server.cancelled_at)
    assert plane.server.cancelled_at[0] - left < 0.2
    written = plane.server.chunks_written
    wait_for(lambda: plane.governor.in_flight() == 0)
    (event,) = plane.events()
    assert (event["stream_end"], event["usage_source"]) == ("client_abort", "partial")
    assert 1 <= event["output_tokens"] <= written + 2
    assert event["input_tokens"] > 0


def test_leaving_before_a_whole_answer_pays_what_was_reserved(plane: Any) -> None:
    acme = plane.tenant("acme")
    plane.server.mode = "hang"
    caller = socket.create_connection(("127.0.0.1", plane.listener.port))
    caller.sendall(request(plane.key(acme), max_tokens=77))
    wait_for(lambda: plane.server.seen)
    caller.close()
    wait_for(lambda: plane.governor.in_flight() == 0)
    (event,) = plane.events()
    assert (event["stream_end"], event["usage_source"]) == ("client_abort", "estimated")
    assert event["output_tokens"] == 77


def test_a_closed_door_ends_its_calls_and_only_those(plane: Any) -> None:
    acme, bolt = plane.tenant("acme"), plane.tenant("bolt")
    plane.server.words, plane.server.pace_s = ["word "] * 60, 0.01
    doors = [plane.door(acme), plane.door(bolt)]
    callers = [socket.socket(socket.AF_UNIX) for _ in doors]
    for caller, door in zip(callers, doors, strict=True):
        caller.connect(str(door.path))
        caller.sendall(request(stream=True))
        read_until(caller, b"word ")
    plane.call(doors[0].close())
    assert not doors[0].path.exists()
    assert plane.governor.in_flight() == 1  # closed means: settled and on the books
    assert b"[DONE]" in read_until(callers[1], b"0\r\n\r\n")
    ends = {event["tenant_id"]: event["stream_end"] for event in plane.events()}
    assert ends == {"acme": "client_abort", "bolt": "ok"}
    for caller in callers:
        caller.close()


def test_a_caller_that_does_not_read_slows_only_its_own_server_down(plane: Any) -> None:
    acme = plane.tenant("acme")
    plane.server.words = ["x" * 20_000] * 2_000  # 40 MB
    caller = socket.socket(socket.AF_UNIX)
    caller.connect(str(plane.door(acme).path))
    caller.sendall(request(stream=True))
    read_until(caller, b"xxx")
    time.sleep(0.4)
    held = plane.server.chunks_written
    assert held < 1_000  # the rest waits at the server
    other = socket.create_connection(("127.0.0.1", plane.listener.port))
    plane.server.words = ["one "]
    begun = time.monotonic()
    other.sendall(request(plane.key(acme)))
    read_until(other, b"usage")
    assert time.monotonic() - begun < 1
    wait_for(lambda: plane.governor.in_flight() == 0)  # and after stall_s the caller is let go
    event = next(one for one in plane.events() if one["stream_end"] == "client_abort")
    assert event["usage_source"] == "partial"
    for one in (caller, other):
        one.close()


def test_the_end_of_a_stream_waits_for_the_books(plane: Any) -> None:
    acme = plane.tenant("acme")
    plane.server.words = ["one "]
    held: list[Any] = []
    record = plane.recorder.record

    def slow(event: Any) -> Any:
        future = plane.loop.create_future()
        held.append((future, event))
        return future

    plane.recorder.record = slow
    caller = socket.create_connection(("127.0.0.1", plane.listener.port))
    caller.sendall(request(plane.key(acme), stream=True))
    seen = read_until(caller, b'"finish_reason":"stop"')
    wait_for(lambda: held)
    caller.settimeout(0.1)
    with pytest.raises(TimeoutError):
        seen += caller.recv(65536)
    assert b"[DONE]" not in seen
    future, _ = held[0]
    plane.loop.call_soon_threadsafe(future.set_result, None)
    caller.settimeout(5)
    assert read_until(caller, b"0\r\n\r\n").count(b"[DONE]") == 1
    plane.recorder.record = record
    caller.close()


def test_a_call_that_cannot_be_put_on_the_books_is_not_answered(plane: Any) -> None:
    acme = plane.tenant("acme")

    def broken(_event: Any) -> Any:
        raise OSError("disk full")

    plane.recorder.record = broken
    caller = socket.create_connection(("127.0.0.1", plane.listener.port))
    caller.sendall(request(plane.key(acme)))
    seen = read_until(caller, b"\r\n\r\n")
    assert seen.startswith(b"HTTP/1.1 503")
    caller.sendall(request(plane.key(acme), stream=True))
    seen = read_until(caller, b"could not be put on the books")
    assert b"[DONE]" not in seen
    caller.close()
