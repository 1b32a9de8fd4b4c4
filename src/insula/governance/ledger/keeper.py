"""Keeps time for the ledgers."""

from __future__ import annotations

import asyncio

import structlog

from insula.governance.ledger.ledgers import Ledgers

_log = structlog.get_logger()


async def keep_ledgers(ledgers: Ledgers, interval_s: float = 1.0) -> None:
    """Tick every ``interval_s`` seconds and make the journal durable on a thread, until cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        ledgers.tick()
        flush = ledgers.flusher()
        if flush is not None:
            try:
                await asyncio.to_thread(flush)
            except OSError as error:
                _log.error("ledger_not_durable", error=error.strerror)
