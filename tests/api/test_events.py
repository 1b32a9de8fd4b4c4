"""Server-sent events: numbered, kept alive, and let go of when the reader leaves."""

import asyncio
from collections.abc import AsyncIterator

from insula.api.events import frame, stream
from insula.cli.client import parse_events
from insula.runs import RunEvent


def event(seq: int) -> RunEvent:
    return RunEvent(
        seq, 1_790_000_000.0, "output", {"stream": "stdout", "text": "a\n\nid: 9\nevent: x\r\n\u2028"}
    )


def test_output_cannot_forge_an_event() -> None:
    [parsed] = parse_events(iter(frame(event(7)).decode().split("\n")))
    assert (parsed.seq, parsed.kind, parsed.data["text"]) == (7, "output", event(7).data["text"])


async def collect(events: AsyncIterator[RunEvent], beat_s: float, most: int) -> list[bytes]:
    found = []
    body = stream(events, beat_s).body_iterator
    async for chunk in body:
        found.append(bytes(chunk))
        if len(found) == most:
            break
    await body.aclose()  # type: ignore[attr-defined]
    return found


def test_a_silence_is_filled_with_comments() -> None:
    async def slow() -> AsyncIterator[RunEvent]:
        await asyncio.sleep(0.05)
        yield event(1)

    found = asyncio.run(collect(slow(), 0.01, 50))
    assert found[-1] == frame(event(1))
    assert set(found[:-1]) == {b": still here\n\n"}


def test_a_reader_who_leaves_ends_the_source() -> None:
    ended = []

    async def endless() -> AsyncIterator[RunEvent]:
        try:
            for number in range(1, 10**6):
                yield event(number)
                await asyncio.sleep(0)
        finally:
            ended.append(True)

    assert len(asyncio.run(collect(endless(), 1, 3))) == 3
    assert ended == [True]
