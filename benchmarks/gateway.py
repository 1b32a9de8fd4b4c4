"""What the data plane costs: CPU per call, per streamed chunk, and the delay it adds. Everything is on.

python -m benchmarks.gateway [--json] [--seconds N]

The gateway (virtual key, entitlement, limits on three levels, estimate, durable usage event, headers) runs on
core 0; a model server in C and the load, on core 1. CPU is the gateway process's own user and system time, so
it does not depend on who saturates first; it does depend on what else keeps the machine busy (shown as load).
The direct figures are of the same load without the gateway, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CALL_US_MAX = 250.0
CHUNK_US_MAX = 10.0
ADDED_P50_MS_MAX = 1.0
CHUNKS = 200
BODY = {
    "model": "m1",
    "messages": [
        {"role": "system", "content": "You are a careful assistant that answers in one short paragraph."},
        {"role": "user", "content": "Tell me, in plain words, what an insula was in ancient Rome."},
    ],
    "max_tokens": 256,
}


@dataclass
class Tally:
    """What a load saw. Times in seconds."""

    calls: int = 0
    chunks: int = 0
    failed: int = 0
    waits: list[float] = field(default_factory=list)


class Caller(asyncio.Protocol):
    """One connection in a closed loop: the next call begins when the last has ended."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self.request = request
        self.tally = tally
        self.seen = b""
        self.stopping = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.begin()

    def begin(self) -> None:
        self.begun = time.perf_counter()
        self.seen = b""
        self.transport.write(self.request)

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def ended(self) -> None:
        self.tally.calls += 1
        self.tally.waits.append(time.perf_counter() - self.begun)
        if self.stopping:
            self.transport.close()
        else:
            self.begin()


class WholeCaller(Caller):
    """Expects answers with a length."""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        head, found, body = self.seen.partition(b"\r\n\r\n")
        if not found:
            return
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        if len(body) >= size:
            self.tally.failed += not head.startswith(b"HTTP/1.1 200")
            self.ended()


class StreamCaller(Caller):
    """Expects event streams; counts events."""

    def data_received(self, data: bytes) -> None:
        self.tally.chunks += data.count(b'"delta"')
        self.seen = self.seen[-16:] + data
        if self.seen.endswith(b"\r\n0\r\n\r\n"):
            self.ended()
        elif self.seen.startswith(b"HTTP/1.1 4"):
            self.tally.failed += 1


async def load(kind: type[Caller], port: int, request: bytes, connections: int, seconds: float) -> Tally:
    """Run ``connections`` callers against ``port`` for ``seconds``."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    callers = [
        (await loop.create_connection(lambda: kind(request, tally), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    for caller in callers:
        caller.stopping = True
    await asyncio.wait([caller.done for caller in callers], timeout=30)
    return tally


def post(port: int, key: str, **more: Any) -> bytes:
    """Return a request as the usual client writes it."""
    body = json.dumps({**BODY, **more}, separators=(",", ":")).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n"
        f"Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nUser-Agent: OpenAI/Python 3.50\r\n"
        f"X-Stainless-Lang: python\r\nX-Stainless-Retry-Count: 0\r\nX-Stainless-Read-Timeout: 600\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def cpu_s(pid: int) -> float:
    """Return user and system time of a process with all its threads, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Platform:
    """`insula up` on core 0 with one tenant, one key, one endpoint and limits that are on but wide."""

    def __init__(self, home: Path, models: dict[str, int]) -> None:
        self.environment = {**os.environ, "INSULA_HOME": str(home)}
        command = [self.insula(), "up", "--port", "0", "--gateway-port", "0", "--trust", "internal", "--json"]
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", *command],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.ready = json.loads(self.process.stdout.readline())
        self.do("tenant", "create", "acme", "--tier", "pro")
        for model, upstream in models.items():
            url = f"http://127.0.0.1:{upstream}/v1"
            self.do("endpoint", "add", f"e-{model}", "--kind", "openai", "--base-url", url, "--model", model)
            self.do("entitle", "acme", model)
        wide = str(10**9)
        self.do("limit", "set", "acme", "--rpm", wide, "--tpm", wide + "00", "--in-flight", "10000")
        self.key = json.loads(self.do("key", "create", "acme", "--json"))["key"]
        self.pid = int(self.ready["pid"])
        self.port = int(self.ready["gateway"].rpartition(":")[2].rstrip("/"))

    @staticmethod
    def insula() -> str:
        return str(Path(sys.executable).with_name("insula"))

    def do(self, *words: str) -> str:
        return subprocess.run(
            [self.insula(), *words], env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def build_upstream(directory: Path) -> Path:
    """Compile the model server. Needs a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("error: no C compiler\nhint: apt-get install gcc libc6-dev")
    program = directory / "upstream"
    subprocess.run([compiler, "-O2", "-o", str(program), str(HERE / "upstream.c")], check=True)
    return program


class Upstream:
    """The model server in C, on core 1. ``pace_us`` is the time between two events of a stream."""

    def __init__(self, program: Path, pace_us: int) -> None:
        self.port = free_port()
        command = ["taskset", "-c", "1", str(program), str(self.port), str(CHUNKS), str(pace_us)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


class Bench:
    """Runs loads from core 1 against a gateway and reads what its process used."""

    def __init__(self, pid: int, port: int, key: str, seconds: float) -> None:
        self.pid = pid
        self.port = port
        self.key = key
        self.seconds = seconds

    def run(self, kind: type[Caller], port: int, connections: int, **more: Any) -> tuple[Tally, float]:
        """Return what the load saw and the CPU seconds that the gateway used meanwhile."""
        import uvloop

        begun = cpu_s(self.pid)
        tally = uvloop.run(load(kind, port, post(port, self.key, **more), connections, self.seconds))
        used = cpu_s(self.pid) - begun
        if tally.failed or not tally.calls:
            sys.exit(f"error: {tally.failed} of {tally.calls} calls failed")
        return tally, used

    def whole(self, upstream: int, connections: int) -> dict[str, float]:
        """Return the figures of non-streaming calls at ``connections``."""
        direct, _ = self.run(WholeCaller, upstream, connections)
        through, used = self.run(WholeCaller, self.port, connections)
        p50, direct_p50 = (statistics.median(tally.waits) * 1e3 for tally in (through, direct))
        return {
            "cpu_us_per_call": used / through.calls * 1e6,
            "calls_per_s": through.calls / self.seconds,
            "p50_ms": p50,
            "p99_ms": statistics.quantiles(through.waits, n=100)[98] * 1e3,
            "direct_p50_ms": direct_p50,
            "added_p50_ms": p50 - direct_p50,
        }

    def streamed(self, model: str, streams: int, call_us: float) -> dict[str, float]:
        """Return the figures of ``streams`` streams at once; ``call_us`` is what a call costs by itself."""
        tally, used = self.run(StreamCaller, self.port, streams, stream=True, model=model)
        return {
            "cpu_us_per_chunk": (used * 1e6 - tally.calls * call_us) / tally.chunks,
            "cpu_us_per_chunk_with_call": used * 1e6 / tally.chunks,
            "chunks_per_s": tally.chunks / self.seconds,
            "cpu_percent": used / self.seconds * 100,
        }


def figures(bench: Bench, upstream: int) -> dict[str, dict[str, float]]:
    """Run everything once."""
    bench.run(WholeCaller, bench.port, 8)  # warm
    found = {f"whole, {number} connections": bench.whole(upstream, number) for number in (1, 16, 64)}
    call_us = found["whole, 16 connections"]["cpu_us_per_call"]
    found["32 streams, as fast as they go"] = bench.streamed("m1", 32, call_us)
    found["32 streams, 50 chunks a second each"] = bench.streamed("m2", 32, call_us)
    return found


def judge(found: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Return the figures that have a bound."""
    paced = found["32 streams, 50 chunks a second each"]["cpu_us_per_chunk"]
    flood = found["32 streams, as fast as they go"]["cpu_us_per_chunk"]
    rows = [
        ("gateway, CPU per call", found["whole, 16 connections"]["cpu_us_per_call"], "us", CALL_US_MAX),
        ("gateway, CPU per streamed chunk", flood, "us", CHUNK_US_MAX),
        ("gateway, CPU per streamed chunk, paced", paced, "us", None),
        (
            "gateway, added p50, 1 connection",
            found["whole, 1 connections"]["added_p50_ms"],
            "ms",
            ADDED_P50_MS_MAX,
        ),
    ]
    return [
        {"name": name, "value": round(value, 3), "unit": unit, "bound": bound}
        for name, value, unit, bound in rows
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--json", action="store_true")
    options.add_argument("--seconds", type=float, default=5.0)
    chosen = options.parse_args()
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        program = build_upstream(Path(scratch))
        fast, paced = Upstream(program, 0), Upstream(program, 20_000)
        platform = Platform(Path(scratch) / "home", {"m1": fast.port, "m2": paced.port})
        os.sched_setaffinity(0, {1})
        try:
            found = figures(Bench(platform.pid, platform.port, platform.key, chosen.seconds), fast.port)
        finally:
            for part in (platform, fast, paced):
                part.close()
    judged = judge(found)
    if chosen.json:
        print(json.dumps({"figures": judged, "all": found, "load_before": busy}))
    else:
        print(f"load average before: {busy:.2f}")
        show(found, judged)
    sys.exit(any(row["bound"] is not None and row["value"] > row["bound"] for row in judged))


def show(found: dict[str, dict[str, float]], judged: list[dict[str, Any]]) -> None:
    for load_name, values in found.items():
        print(load_name)
        for name, value in values.items():
            print(f"    {name:<28} {value:12.3f}")
    for row in judged:
        bound = "" if row["bound"] is None else f"   (bound {row['bound']})"
        print(f"{row['name']:<44} {row['value']:10.3f} {row['unit']}{bound}")


if __name__ == "__main__":
    main()
