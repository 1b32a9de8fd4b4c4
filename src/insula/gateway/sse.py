"""The event stream of an answer, read as it passes: usage found and hidden, the end held back. Pure.

Works on whole events: what arrives cut in the middle waits for its rest. An event that holds nothing of
interest, which is nearly every one, is never parsed. Inside JSON text a quote is always escaped, so the raw
bytes ``"usage"`` before a colon can only be a key.
"""

from __future__ import annotations

import json
import re
from typing import Any

from insula.kernel.errors import ModelFailed

LONGEST_EVENT = 1024 * 1024
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_USAGE = re.compile(rb'"usage"\s*:\s*null\s*,?\s*|,\s*"usage"\s*:\s*null')
_END = re.compile(rb"\r?\n\r?\n")
_BYTES_PER_TOKEN = 4


class StreamScan:
    """Feed it the bytes of the body; it returns those to send on now.

    ``held`` is what must wait until the call is on the books: the end of the stream. ``usage`` is the
    provider's own figures, the last ones seen (they are cumulative). ``failed``: the stream carried an error.
    ``bound`` is the most output tokens that may pass (``None``: any); what comes after it is kept in
    ``beyond``, whole events, and passes when the bound is raised and they are fed again. ``opening`` is the
    first event.
    """

    __slots__ = (
        "_first", "_partial", "_show_usage", "beyond", "bound", "events", "failed", "held", "opening",
        "seen", "usage",
    )  # fmt: skip

    def __init__(self, show_usage: bool) -> None:
        self._show_usage = show_usage
        self._partial = b""
        self._first = 0  # bytes of the first event: nearly all of it is the envelope of every event
        self.events = 0
        self.seen = 0
        self.held = b""
        self.usage: dict[str, Any] | None = None
        self.failed = False
        self.bound: int | None = None
        self.beyond = b""
        self.opening = b""

    def feed(self, data: bytes) -> bytes:
        """Take ``data``; return what may go on. Raises ``ModelFailed`` for an event without end."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        if not data.endswith(b"\n\n"):
            data = self._whole_events(data)
            if not data:
                return b""
        if self.bound is not None and not self._fits(data):
            data = self._up_to_bound(data)
        return self._pass(data)

    def resume(self) -> bytes:
        """Return what may go on of what was kept beyond the bound, which was raised."""
        data, self.beyond = self.beyond, b""
        if self.bound is not None and not self._fits(data):
            data = self._up_to_bound(data)
        return self._pass(data)

    def _pass(self, data: bytes) -> bytes:
        """Take note of whole events; return those to send on now."""
        if b'"usage"' not in data and b"[DONE]" not in data and b'"error"' not in data and not self.held:
            self._count(data)
            return data
        return self._look(data)

    def _fits(self, data: bytes) -> bool:
        """Whether whole events surely stay within the bound: an event is rarely more than a token."""
        assert self.bound is not None
        if self.beyond:
            return False
        return self.tokens() + max(data.count(b"\n\n"), len(data) // _BYTES_PER_TOKEN) <= self.bound

    def _up_to_bound(self, data: bytes) -> bytes:
        """Return the events of ``data`` that stay within the bound; keep the others."""
        assert self.bound is not None
        events, text, taken = self.events, self.seen, 0
        first = self._first
        if not self.beyond:
            for end in _END.finditer(data):
                size = end.end() - taken
                first = first or size
                events, text = events + 1, text + size
                over = max(events, -(-(text - events * first) // _BYTES_PER_TOKEN)) > self.bound
                if over and not _closes(data[taken : end.end()]):
                    break
                taken = end.end()
        self.beyond += data[taken:]
        return data[:taken]

    def finish(self) -> None:
        """The body is complete: an event without its blank line is one all the same."""
        rest, self._partial = self._partial, b""
        if rest.strip():
            self.held += self._look(rest + b"\n\n")

    def tokens(self) -> int:
        """Return an estimate of the output streamed so far.

        At least one token an event; more if the events are larger than their envelope.
        """
        text = self.seen - self.events * self._first
        return max(self.events, -(-text // _BYTES_PER_TOKEN))

    def _count(self, data: bytes) -> None:
        if not self._first and data:
            self._first = len(data) if data.count(b"\n\n") == 1 else data.find(b"\n\n") + 2
            self.opening = data[: self._first]
        self.events += data.count(b"\n\n") or bool(data)
        self.seen += len(data)

    def _whole_events(self, data: bytes) -> bytes:
        """Return the whole events of ``data``; keep the rest."""
        plain, crlf = data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n")
        cut = max(plain + 2 if plain >= 0 else 0, crlf + 4 if crlf >= 0 else 0)
        if len(data) - cut > LONGEST_EVENT:
            raise ModelFailed("the model server sent an event without end")
        self._partial = data[cut:]
        return data[:cut]

    def _look(self, data: bytes) -> bytes:
        passed = b""
        start = 0
        for end in _END.finditer(data):
            event = data[start : end.end()]
            start = end.end()
            shown = self._event(event)
            if self.held or shown.startswith((b"data: [DONE]", b"data:[DONE]")):
                self.held += shown
            else:
                passed += shown
        return passed

    def _event(self, event: bytes) -> bytes:
        """Note what an event says; return it as the caller may see it."""
        if _USAGE.search(event):
            return self._with_usage(event)
        if b'"error"' in event and _is_error(event):
            self.failed = True
        if not self._show_usage and b'"usage"' in event:
            event = _NO_USAGE.sub(b"", event)
        if b"[DONE]" not in event[:16]:
            self._count(event)
        return event

    def _with_usage(self, event: bytes) -> bytes:
        body = _json(event)
        usage = body.get("usage") if body is not None else None
        if body is None or not isinstance(usage, dict):
            return event
        self.usage = usage
        if self._show_usage:
            return event
        if not body.get("choices"):
            return b""
        del body["usage"]
        return b"data: " + json.dumps(body, separators=(",", ":")).encode("ascii") + b"\n\n"


def _closes(event: bytes) -> bool:
    """Whether an event brings no output of its own: the reason why the answer ended, usage, the end."""
    if event.startswith((b"data: [DONE]", b"data:[DONE]")):
        return True
    body = _json(event)
    if body is None:
        return False
    choices = body.get("choices")
    if not isinstance(choices, list):
        return False
    return all(isinstance(one, dict) and not one.get("delta") and not one.get("text") for one in choices)


def _json(event: bytes) -> dict[str, Any] | None:
    """Return the JSON object of an event's data lines, or ``None``."""
    lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    try:
        body = json.loads(b"\n".join(lines))
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _is_error(event: bytes) -> bool:
    body = _json(event)
    return body is not None and bool(body.get("error"))
