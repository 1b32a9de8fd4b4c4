"""Calls under way, remembered so that a crash loses none: what was spent on them is billed all the same.

A call takes a slot of a file that is mapped into memory, and frees it when its usage event is durable. What
is in the slot outlives ``kill -9`` of the process, because the pages belong to the kernel; not a power cut,
which is the price of costing a call a few microseconds and no system call. After a crash, whatever still has
a slot becomes a usage event of its own, estimated by what the slot says and marked ``platform_crash``. The
books drop those they have already.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from insula.kernel.errors import InvalidRequest
from insula.usage.event import UsageEvent

_log = structlog.get_logger()
_NAME = "under-way.map"
_SLOTS = 256
_MOST_SLOTS = 65_536
_BETWEEN = "\x1f"

# A slot: length and checksum of the call, the call; then twice what it has used so far, each with its own
# checksum. A process may die in the middle of a write: then the length is not there yet, or the other of
# the two figures holds.
_SLOT = 2_048
_HEAD = struct.Struct("<II")
_FIGURES = struct.Struct("<6Q")
_CHECKED = struct.Struct("<6QI")
_AT = (_SLOT - 2 * _CHECKED.size, _SLOT - _CHECKED.size)
_NO_FIGURES = bytes(_CHECKED.size)
_LONGEST = _AT[0] - _HEAD.size
_FREE = b"\0\0\0\0"


class Used(NamedTuple):
    """What a call is known to have used so far: tokens, quota tokens of each direction and in all, money."""

    input_tokens: int
    output_tokens: int
    input_quota: int
    output_quota: int
    quota: int
    nanousd: int


class Sent(NamedTuple):
    """A call as it was sent. ``app``, ``agent`` and ``run`` are empty for a call without one."""

    request_id: str
    tenant: str
    app: str
    agent: str
    run: str
    subject: str
    provider: str
    endpoint: str
    model: str
    lane: str
    started_at: float
    burn_version: str
    price_version: str
    used: Used


class UnderWay:
    """The file of calls under way, in ``directory``. Belongs to one process and one event loop."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / _NAME
        self._map: mmap.mmap | None = None
        self._slots: dict[str, int] = {}
        self._turns: dict[str, int] = {}
        self._free: list[int] = []

    def recover(self, now: float) -> list[UsageEvent]:
        """Return the events of calls that a former process left under way. Blocking.

        ``now`` is when they are taken to have ended, at the latest. They stay in the file until ``begin``.
        """
        if not self._path.exists():
            return []
        return [_event(sent, now) for sent in _left(self._path.read_bytes())]

    def begin(self) -> None:
        """Begin with an empty file, once what was recovered is in the books. Raises ``OSError``."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _SLOTS * _SLOT)
            self._map = mmap.mmap(fd, _SLOTS * _SLOT)
        finally:
            os.close(fd)
        self._free = list(range((_SLOTS - 1) * _SLOT, -1, -_SLOT))

    def sent(self, call: Sent) -> None:
        """A call is on its way."""
        if call.request_id in self._slots:
            return  # it is sent once more: its endpoint did not take it the first time
        text = _BETWEEN.join(
            (*call[:10], str(call.started_at), call.burn_version, call.price_version)
        ).encode()
        place = self._take()
        if place is None or self._map is None or len(text) > _LONGEST:
            _log.error("call_under_way_not_written", request=call.request_id)
            return
        self._slots[call.request_id] = place
        self._map[place + _AT[0] : place + _SLOT] = _checked(call.used) + _NO_FIGURES
        body = place + _HEAD.size
        self._map[body : body + len(text)] = text
        self._map[place : place + _HEAD.size] = _HEAD.pack(len(text), zlib.crc32(text))

    def progressed(self, request_id: str, used: Used) -> None:
        """A call has used so much so far."""
        place = self._slots.get(request_id)
        if place is not None and self._map is not None:
            turn = self._turns[request_id] = 1 - self._turns.get(request_id, 0)
            at = place + _AT[turn]
            self._map[at : at + _CHECKED.size] = _checked(used)

    def ended(self, request_id: str) -> None:
        """A call's usage event is durable."""
        place = self._slots.pop(request_id, None)
        if place is not None and self._map is not None:
            self._turns.pop(request_id, None)
            self._map[place : place + 4] = _FREE
            self._free.append(place)

    def close(self) -> None:
        """Let go of the file. Calls that are still open stay in it."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def _take(self) -> int | None:
        """Return a free slot; the file doubles when there is none."""
        if self._free:
            return self._free.pop()
        if self._map is None or len(self._map) >= _MOST_SLOTS * _SLOT:
            return None
        size = len(self._map)
        try:
            self._map.resize(2 * size)
        except OSError:
            return None
        self._free = list(range(2 * size - _SLOT, size - _SLOT, -_SLOT))
        return self._free.pop()


def _left(data: bytes) -> Iterator[Sent]:
    """Yield the calls that have a slot, with the last figures that are whole."""
    for place in range(0, len(data) - _SLOT + 1, _SLOT):
        length, checksum = _HEAD.unpack_from(data, place)
        body = place + _HEAD.size
        text = data[body : body + length]
        if not length or length > _LONGEST or zlib.crc32(text) != checksum:
            continue
        figures = max(_whole_figures(data, place), default=None)
        if figures is None:
            _log.error("call_under_way_unreadable")
            continue
        yield _sent(text.decode().split(_BETWEEN), figures)


def _sent(words: list[str], figures: tuple[int, ...]) -> Sent:
    request_id, tenant, app, agent, run, subject, provider, endpoint, model, lane, started, burn, price = (
        words
    )
    return Sent(
        request_id, tenant, app, agent, run, subject, provider, endpoint, model, lane, float(started), burn,
        price, Used(*figures),
    )  # fmt: skip


def _checked(used: Used) -> bytes:
    figures = _FIGURES.pack(*used)
    return figures + zlib.crc32(figures).to_bytes(4, "little")


def _whole_figures(data: bytes, place: int) -> Iterator[tuple[int, ...]]:
    for at in _AT:
        *figures, checksum = _CHECKED.unpack_from(data, place + at)
        if checksum == zlib.crc32(data[place + at : place + at + _FIGURES.size]) and checksum:
            yield tuple(figures)


def _event(sent: Sent, now: float) -> UsageEvent:
    used = sent.used
    try:
        return UsageEvent(
            event_id=sent.request_id, tenant_id=sent.tenant, request_id=sent.request_id,
            provider=sent.provider, model_id=sent.model, request_model=sent.model,
            endpoint=sent.endpoint, timestamp=max(now, sent.started_at), started_at=sent.started_at,
            input_tokens=used.input_tokens, output_tokens=used.output_tokens, quota_tokens=used.quota,
            input_quota_tokens=used.input_quota, output_quota_tokens=used.output_quota,
            cost_nanousd=used.nanousd, price_version=sent.price_version, burn_version=sent.burn_version,
            app_id=sent.app or None, agent_id=sent.agent or None, run_id=sent.run or None,
            subject=sent.subject, lane=sent.lane,
            usage_source="estimated", stream_end="platform_crash",
        )  # fmt: skip
    except InvalidRequest:
        _log.error("call_under_way_unbillable", request=sent.request_id)
        raise
