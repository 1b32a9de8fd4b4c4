"""What a flood does to a quiet neighbour: a real gateway, a model server with few slots, two tenants.

python -m benchmarks.neighbour [--json] [--calls N]

The flood keeps fifty times its share of the slots asked for, all the time; the quiet tenant sends a call now
and then, alone first and then beside the flood, in the same run. The model server takes 40 to 60 ms a call,
evenly spread (seeded), and has eight slots. The last row is what the same server does without a fair queue:
the slots are lifted from the endpoint, and the server serves in the order of arrival, eight at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gateway import Platform, WholeCaller, post

SLOTS, FLOOD = 8, 50
SERVICE_S = (0.040, 0.060)
RATIO_MAX = 1.5


class Server(asyncio.Protocol):
    """Answers a call after its service time; ``line`` is who is served next, ``SLOTS`` at a time."""

    line: asyncio.Semaphore
    chance = random.Random(7)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        head, found, body = self.seen.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]) if found else 0
        if found and len(body) >= size:
            self.seen = b""
            asyncio.ensure_future(self.serve())  # noqa: RUF006 - ends with its connection

    async def serve(self) -> None:
        async with self.line:
            await asyncio.sleep(self.chance.uniform(*SERVICE_S))
        usage = {"prompt_tokens": 20, "completion_tokens": 80, "total_tokens": 100}
        message = {"role": "assistant", "content": "word " * 80}
        answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m1", "usage": usage}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        text = json.dumps({**answer, "choices": [choice]}).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % len(text) + text)


async def serve(port: int) -> None:
    Server.line = asyncio.Semaphore(SLOTS)
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Caller(WholeCaller):
    """A caller in a closed loop that pauses between its calls (``pause_s``, evenly spread around it)."""

    pause_s = 0.0

    def ended(self) -> None:
        if not self.pause_s:
            super().ended()
            return
        self.tally.calls += 1
        self.tally.waits.append(time.perf_counter() - self.begun)
        asyncio.get_running_loop().call_later(random.uniform(0.5, 1.5) * self.pause_s, self.again)

    def again(self) -> None:
        if self.stopping:
            self.transport.close()
        else:
            self.begin()


class Quiet(Caller):
    pause_s = 0.05


async def measure(port: int, keys: dict[str, str], calls: int, flooding: bool) -> list[float]:
    """Return how long each of the quiet tenant's ``calls`` took, in seconds."""
    from benchmarks.gateway import Tally

    loop = asyncio.get_running_loop()
    patient = b"x-insula-max-wait: 600\r\nAccept: "
    flood = post(port, keys["flood"]).replace(b"Accept: ", patient, 1)
    quiet, noise = Tally(), Tally()
    callers = [
        (await loop.create_connection(lambda: WholeCaller(flood, noise), "127.0.0.1", port))[1]
        for _ in range(SLOTS // 2 * FLOOD if flooding else 0)
    ]
    await asyncio.sleep(2.0 if flooding else 0.0)
    _, one = await loop.create_connection(lambda: Quiet(post(port, keys["quiet"]), quiet), "127.0.0.1", port)
    while quiet.calls < calls:
        await asyncio.sleep(0.05)
    for caller in (*callers, one):
        caller.stopping = True
        caller.transport.close()
    if quiet.failed or noise.failed:
        sys.exit(f"error: {quiet.failed + noise.failed} calls failed")
    return quiet.waits


def p99(waits: list[float]) -> float:
    return statistics.quantiles(waits, n=100)[98] * 1e3


def run(calls: int) -> dict[str, float]:
    """Measure everything once."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "benchmarks.neighbour", "--serve"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert server.stdout is not None
        platform = Platform(Path(scratch) / "home", {"m1": int(server.stdout.readline())})
        try:
            keys = {}
            for name in ("flood", "quiet"):
                platform.do("tenant", "create", name, "--tier", "pro")
                platform.do("entitle", name, "m1")
                platform.do("limit", "set", name, *WIDE)
                keys[name] = json.loads(platform.do("key", "create", name, "--json"))["key"]
            platform.do("endpoint", "set", "e-m1", "--slots", str(SLOTS))
            asyncio.run(measure(platform.port, keys, 20, False))
            alone = asyncio.run(measure(platform.port, keys, calls, False))
            beside = asyncio.run(measure(platform.port, keys, calls, True))
            platform.do("endpoint", "set", "e-m1", "--unlimited", "slots")
            unfair = asyncio.run(measure(platform.port, keys, min(calls, 20), True))
        finally:
            platform.close()
            server.terminate()
            server.wait(10)
    return {
        "alone_p50_ms": statistics.median(alone) * 1e3,
        "alone_p99_ms": p99(alone),
        "beside_p50_ms": statistics.median(beside) * 1e3,
        "beside_p99_ms": p99(beside),
        "ratio_p99": p99(beside) / p99(alone),
        "without_queue_p50_ms": statistics.median(unfair) * 1e3,
        "without_queue_ratio_p50": statistics.median(unfair) / statistics.median(alone),
    }


WIDE = ("--rpm", str(10**9), "--tpm", str(10**11), "--in-flight", "100000")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--json", action="store_true")
    options.add_argument("--calls", type=int, default=400)
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.serve:
        asyncio.run(serve(0))
        return
    found = run(chosen.calls)
    if chosen.json:
        print(json.dumps({**found, "bound": RATIO_MAX}))
    else:
        for name, value in found.items():
            print(f"{name:<28} {value:10.2f}")
        print(f"quiet tenant's p99 beside a flood / alone   {found['ratio_p99']:.2f} x   (bound {RATIO_MAX})")
    sys.exit(found["ratio_p99"] > RATIO_MAX)


if __name__ == "__main__":
    main()
