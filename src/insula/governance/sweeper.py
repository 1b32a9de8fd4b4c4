"""Keeps time for the governor: reservations that nobody settles come free without traffic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from insula.governance.quota.governor import Governor

_log = structlog.get_logger()


async def keep_sweeping(governor: Governor, interval_s: float = 1.0) -> None:
    """Expire overdue reservations every ``interval_s`` seconds, until cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        for rid in governor.expire():
            _log.warning("reservation_expired", rid=rid)
