"""Responses as bytes. A head is built once and leaves in the same write as the first bytes of its body."""

from __future__ import annotations

from http import HTTPStatus

_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus
}
CLOSE = b"connection: close\r\n"
_SSE = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
)
_CHUNKED = b"transfer-encoding: chunked\r\n"


def whole(status: int, headers: bytes, body: bytes, *, close: bool, bare: bool) -> bytes:
    """Return a complete response; ``headers`` are finished lines. ``bare`` leaves the body out (HEAD)."""
    return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (
        _line(status), headers, CLOSE if close else b"", len(body), b"" if bare else body,
    )  # fmt: skip


def stream_head(headers: bytes, *, chunked: bool, close: bool) -> bytes:
    """Return the head of an event stream."""
    framing = _CHUNKED if chunked else b""
    return b"%b%b%b%b%b\r\n" % (_LINES[200], _SSE, headers, framing, CLOSE if close else b"")


def last_part(data: bytes, *, chunked: bool) -> bytes:
    """Return the last part of a stream (may be empty) with the end of its framing."""
    if not chunked:
        return data
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"


def _line(status: int) -> bytes:
    return _LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode("ascii")
