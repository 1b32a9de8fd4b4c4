"""Server-sent events of a run, with ids, so that a reader who lost the connection goes on where it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

from insula.runs import RunEvent

BEAT_S = 15.0
"""After so long without an event a comment keeps proxies from closing the connection."""


def stream(events: AsyncIterator[RunEvent], beat_s: float = BEAT_S) -> StreamingResponse:
    """Return a response that carries ``events`` until they end or the reader leaves."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_frames(events, beat_s), media_type="text/event-stream", headers=headers)


async def _frames(events: AsyncIterator[RunEvent], beat_s: float) -> AsyncIterator[bytes]:
    following = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=beat_s)
            if not done:
                yield b": still here\n\n"
                continue
            event = following.result()
            if event is None:
                return
            yield frame(event)
            following = asyncio.ensure_future(anext(events, None))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


def frame(event: RunEvent) -> bytes:
    """Return one event on the wire."""
    data = json.dumps(event.to_json(), separators=(",", ":"))
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {data}\n\n".encode()
