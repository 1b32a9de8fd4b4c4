"""A gateway of its own process, for tests that need several, or one to kill.

gateway_process.py ADDRESS LIMITS flood NAME CALLERS SECONDS
gateway_process.py ADDRESS LIMITS step NAME STEP
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

import structlog

from insula.governance import Limits, Need, Scope, used_tokens
from insula.governance.stores.address import Address
from insula.governance.stores.call import Call, Note
from insula.governance.stores.valkey import ValkeyStore
from insula.governance.stores.wire import OnReply
from insula.kernel.errors import LimitError

SCOPE = Scope("acme", "desk", "clerk")


class Watched(ValkeyStore):
    """Notes when the store, by its own clock, admitted each call and saw it end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.admitted: dict[str, int] = {}
        self.ended: dict[str, int] = {}

        reserve, settle = self.exchange.reserve, self.exchange.settle

        def reserve_watched(call: Call, within_us: int, take: OnReply) -> None:
            def watch(reply: object) -> None:
                if isinstance(reply, list) and reply[0] == 1:
                    self.admitted[call.rid] = reply[1]
                take(reply)

            reserve(call, within_us, watch)

        def settle_watched(note: Note, take: OnReply) -> None:
            def watch(reply: object) -> None:
                if isinstance(reply, list) and note.final:
                    self.ended[note.call.rid] = reply[1]
                take(reply)

            settle(note, watch)

        self.exchange.reserve = reserve_watched  # type: ignore[method-assign]
        self.exchange.settle = settle_watched  # type: ignore[method-assign]


async def flood(store: Watched, name: str, callers: int, seconds: float) -> None:
    """Callers that ask without rest; each uses at most what it reserved."""
    chance, uses, refused = random.Random(name), {}, 0
    end = asyncio.get_running_loop().time() + seconds

    async def caller(number: int) -> None:
        nonlocal refused
        turn = 0
        while asyncio.get_running_loop().time() < end:
            turn += 1
            rid, tokens = f"{name}-{number}-{turn}", chance.randint(1, 40)
            try:
                await store.reserve(SCOPE, rid, Need.tokens(tokens))
            except LimitError:
                refused += 1
                await asyncio.sleep(chance.uniform(0, 0.02))
                continue
            used = tokens if chance.random() < 0.8 else tokens // 2
            await asyncio.sleep(chance.uniform(0, 0.01))
            uses[rid] = used
            store.settle(rid, used_tokens(used))

    await asyncio.gather(*(caller(number) for number in range(callers)))
    await store._outgoing.drained()
    calls = [(store.admitted[rid], store.ended[rid], used) for rid, used in uses.items()]
    print(json.dumps({"calls": calls, "refused": refused, "open": store.outages.failed_open}))


async def step(store: Watched, name: str, steps: int) -> None:
    """One call, stopped after so many steps; it waits there to be killed."""
    await store.reserve(SCOPE, name, Need.tokens(100, charge=30), ttl_s=0.7)
    for number in range(1, steps + 1):
        if number == 1:
            store.sent(name)
        elif number == 2:
            store.progress(name, used_tokens(50))
        elif number == 3:
            store.settle(name, used_tokens(80))
        await store._outgoing.drained()
    print("ready", flush=True)
    await asyncio.sleep(60)


async def main() -> None:
    address, limits, what, name, *rest = sys.argv[1:]
    by_key = {key: Limits.parse(figures) for key, figures in json.loads(limits).items()}
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    store = Watched(Address.parse(address), lambda key: by_key.get(key, Limits()), timeout_s=30)
    await store.start(30)
    if what == "flood":
        await flood(store, name, int(rest[0]), float(rest[1]))
    else:
        await step(store, name, int(rest[0]))
    await store.stop()


asyncio.run(main())
