"""Refusals on the data plane, written to the audit log: each kind once a second at most, with the count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

_log = structlog.get_logger()
_EVERY_S = 1.0
_KINDS_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Refused:
    """One kind of refusal: whose, by which rule, and how often since it was last written."""

    tenant: str | None  # ``None``: nobody was verified
    actor: str
    rule: str
    target: str
    times: int


class RefusalLog:
    """Passes refusals to ``write`` (blocking; called in a worker thread), bounded in rate and memory."""

    def __init__(self, write: Callable[[Refused], None]) -> None:
        self._write = write
        self._counts: dict[tuple[str | None, str, str, str], int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, tenant: str | None, actor: str, rule: str, target: str = "") -> None:
        """Remember one refusal. Must be called on the event loop."""
        key = (tenant, actor, rule, target[:200])
        if key not in self._counts and len(self._counts) >= _KINDS_KEPT:
            key = (None, "many", rule, "")
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self._due)

    async def flush(self) -> None:
        """Write what is remembered; returns when it is written."""
        if self._timer is not None:
            self._timer.cancel()
            self._due()
        await asyncio.gather(*self._tasks)

    def _due(self) -> None:
        self._timer = None
        counts, self._counts = self._counts, {}
        batch = [Refused(*key, times) for key, times in counts.items()]
        task = asyncio.get_running_loop().create_task(asyncio.to_thread(self._write_all, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _write_all(self, batch: list[Refused]) -> None:
        for refused in batch:
            try:
                self._write(refused)
            except OSError as error:
                _log.error("gateway.audit_failed", rule=refused.rule, error=type(error).__name__)
