"""Calls under way, remembered so that a crash loses none: what was spent on them is billed all the same.

A call writes a line when it is sent, as it goes, and when its usage event is durable. Lines are appended with
a plain write: they survive ``kill -9`` of the process, not a power cut, which is the price of costing a call
only a few microseconds. After a crash, whatever has begun and not ended becomes a usage event of its own,
estimated by the last line and marked ``platform_crash``. The books drop those they have already.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from insula.kernel.errors import InvalidRequest
from insula.usage.event import UsageEvent
from insula.usage.segment import frame, read

_log = structlog.get_logger()
_NAME = "under-way.log"
_LONGEST = 4 * 1024 * 1024
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Sent(NamedTuple):
    """A call as it was sent. The last five figures are what it is known to have used so far."""

    request_id: str
    tenant: str
    app: str | None
    agent: str | None
    run: str | None
    subject: str
    provider: str
    endpoint: str
    model: str
    lane: str
    started_at: float
    burn_version: str
    price_version: str
    input_tokens: int
    output_tokens: int
    input_quota: int
    output_quota: int
    quota: int
    nanousd: int


class UnderWay:
    """The file of calls under way, in ``directory``. Belongs to one process and one event loop."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / _NAME
        self._open: dict[str, Sent] = {}
        self._fd = -1
        self._size = 0

    def recover(self, now: float) -> list[UsageEvent]:
        """Return the events of calls that a former process left under way. Blocking.

        ``now`` is when they are taken to have ended, at the latest. Their lines stay until ``begin``.
        """
        if not self._path.exists():
            return []
        contents = read(self._path)
        if contents.broken:
            _log.error("calls_under_way_damaged", lines=contents.broken)
        return [_event(sent, now) for sent in _left(contents.events).values()]

    def begin(self) -> None:
        """Begin with an empty file, once what was recovered is in the books."""
        self._rewrite()

    def sent(self, call: Sent) -> None:
        """A call is on its way."""
        self._open[call.request_id] = call
        self._write(["s", *call])

    def progressed(self, call: Sent) -> None:
        """A call has used so much so far."""
        if call.request_id in self._open:
            self._open[call.request_id] = call
            self._write(["p", call.request_id, *call[-6:]])

    def ended(self, request_id: str) -> None:
        """A call's usage event is durable."""
        if self._open.pop(request_id, None) is not None:
            self._write(["e", request_id])
            if self._size > _LONGEST:
                self._rewrite()

    def close(self) -> None:
        """Let go of the file. Calls that are still open stay in it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, line: list[Any]) -> None:
        """Append a line. A full disk shows in the journal of usage, which stops calls; here it is logged."""
        data = frame(_encode(line).encode())
        try:
            self._size += os.write(self._fd, data)
        except OSError as error:
            _log.error("call_under_way_not_written", error=type(error).__name__)

    def _rewrite(self) -> None:
        """Begin the file anew with the calls that are open."""
        fresh = self._path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(fresh, flags, 0o600)
        data = b"".join(frame(_encode(["s", *sent]).encode()) for sent in self._open.values())
        os.write(fd, data)
        fresh.rename(self._path)
        self.close()
        self._fd, self._size = fd, len(data)


def _left(lines: Iterable[bytes]) -> dict[str, Sent]:
    """Return the calls that have begun and not ended, as their last lines tell."""
    left: dict[str, Sent] = {}
    for line in lines:
        try:
            kind, request_id, *rest = json.loads(line)
            if kind == "s":
                left[request_id] = Sent(request_id, *rest)
            elif kind == "p" and request_id in left:
                left[request_id] = Sent(*left[request_id][:-6], *rest)
            elif kind == "e":
                left.pop(request_id, None)
        except (ValueError, TypeError):
            _log.error("call_under_way_unreadable")
    return left


def _event(sent: Sent, now: float) -> UsageEvent:
    try:
        return UsageEvent(
            event_id=sent.request_id, tenant_id=sent.tenant, request_id=sent.request_id,
            provider=sent.provider, model_id=sent.model, request_model=sent.model,
            endpoint=sent.endpoint, timestamp=max(now, sent.started_at), started_at=sent.started_at,
            input_tokens=sent.input_tokens, output_tokens=sent.output_tokens, quota_tokens=sent.quota,
            input_quota_tokens=sent.input_quota, output_quota_tokens=sent.output_quota,
            cost_nanousd=sent.nanousd, price_version=sent.price_version, burn_version=sent.burn_version,
            app_id=sent.app, agent_id=sent.agent, run_id=sent.run, subject=sent.subject, lane=sent.lane,
            usage_source="estimated", stream_end="platform_crash",
        )  # fmt: skip
    except InvalidRequest:
        _log.error("call_under_way_unbillable", request=sent.request_id)
        raise
