"""The whole data plane on real parts in a thread of its own, and a model server that does as it is told."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from insula.audit import AuditLog
from insula.gateway import (
    DataPlane,
    Deployed,
    Door,
    Doors,
    KeyCaller,
    Parts,
    Policing,
    PublicListener,
    RefusalLog,
    Refused,
    Turnstiles,
    WireLimits,
)
from insula.governance import Estimator, Governor, Limits
from insula.governance.burndown import load as load_burndown
from insula.governance.policy import PolicySet
from insula.identity import Authority, Credentials, Gateway, RenewingToken, SigningKeys, Usage, audited
from insula.identity.adapters.sql import SqlCredentialStore, SqlKeyStore
from insula.kernel.clock import SystemClock
from insula.kernel.ids import RunId, TenantId, mint
from insula.models import Catalog, Entitlements, Upstreams
from insula.models.adapters.sql import SqlModels
from insula.models.providers.openai import Patience
from insula.storage import ControlDatabase
from insula.storage.heads import SqlHeads
from insula.tenancy import Tier, Trust
from insula.tenancy.adapters.sql import SqlRegistry
from insula.usage import Outbox, PriceBook, Recorder, UnderWay, UsageReports
from insula.usage.adapters.sql import SqlBooks
from insula.vault import Barrier

T = TypeVar("T")


PRICED = "gpt-4o-mini"
"""A model with a price, for budgets of money."""


class Keys:
    """Endpoint keys in memory: the vault has its own tests."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def put(self, name: str, value: str) -> None:
        self.held[name] = value

    def delete(self, name: str) -> None:
        del self.held[name]

    def get(self, name: str) -> str:
        return self.held[name]


class Server:
    """A model server. ``answer(stream)`` style is chosen by the model name's words; see ``_serve``."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.cancelled_at: list[float] = []
        self.chunks_written = 0
        self.connections = 0
        self.drop_kept = False
        self.mode = "plain"
        self.words = ["one ", "two ", "three "]
        self.pace_s = 0.0
        self.usage: dict[str, Any] | None = {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23}
        self.counts = False  # produce at most max_tokens words, and say how many
        self.status = 200
        self.refuse_next = 0  # so many requests are answered 429 first
        self.running = self.most_running = 0
        self.extra_headers = ""
        self.raw: bytes | None = None
        self.port = 0

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if "_serve" in repr(task):
                task.cancel()
        await asyncio.sleep(0.01)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                headers = dict(
                    line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if ": " in line
                )
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.seen.append({"line": head.split(b"\r\n")[0], "headers": headers, "body": body})
                await self._answer(body, writer)
                if self.drop_kept:
                    return
        except asyncio.CancelledError:
            pass
        except (asyncio.IncompleteReadError, ConnectionError):
            self.cancelled_at.append(time.monotonic())
        finally:
            writer.close()

    async def _answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self._served(body, writer)
        finally:
            self.running -= 1

    def _words(self, body: dict[str, Any]) -> list[str]:
        most = body.get("max_tokens") or body.get("max_completion_tokens")
        return self.words[:most] if self.counts else self.words

    def _usage(self, body: dict[str, Any]) -> dict[str, Any] | None:
        if not self.counts:
            return self.usage
        produced = len(self._words(body))
        return {"prompt_tokens": 20, "completion_tokens": produced, "total_tokens": 20 + produced}

    async def _served(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if self.refuse_next:
            self.refuse_next -= 1
            writer.write(
                b"HTTP/1.1 429 X\r\nretry-after-ms: 50\r\ncontent-type: application/json\r\n"
                b"content-length: 2\r\n\r\n{}"
            )
            await writer.drain()
            return
        if self.mode == "hang":
            await asyncio.sleep(3600)
        if self.raw is not None:
            writer.write(self.raw)
            await writer.drain()
            if self.mode == "close":
                raise ConnectionResetError
            return
        if self.status != 200:
            text = json.dumps(
                {"error": {"message": "sk-secret-part", "type": "t", "code": "bad_thing"}}
            ).encode()
            writer.write(
                f"HTTP/1.1 {self.status} X\r\ncontent-type: application/json\r\n{self.extra_headers}"
                f"content-length: {len(text)}\r\n\r\n".encode()
                + text
            )
            await writer.drain()
            return
        await (self._stream(body, writer) if body.get("stream") else self._whole(body, writer))

    async def _whole(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.pace_s)
        message = {"role": "assistant", "content": "".join(self._words(body))}
        answer = {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": message, "text": "x"}],
        }
        if self._usage(body) is not None:
            answer["usage"] = self._usage(body)
        text = json.dumps(answer).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-internal: secret\r\n"
                     b"set-cookie: a=b\r\ncontent-length: %d\r\n\r\n" % len(text) + text)  # fmt: skip
        await writer.drain()

    async def _stream(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        asked = (body.get("stream_options") or {}).get("include_usage")
        for number, word in enumerate(self._words(body)):
            event = {**base, "choices": [{"index": 0, "delta": {"content": word}}]}
            if asked:
                event["usage"] = None
            await self._event(writer, event)
            self.chunks_written += 1
            if self.mode == "cut" and number == 1:
                raise ConnectionResetError
            if self.mode == "error" and number == 1:
                await self._event(writer, {"error": {"message": "broke", "code": "x"}})
                break
            await asyncio.sleep(self.pace_s)
        await self._event(writer, {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if asked and self._usage(body) is not None:
            await self._event(writer, {**base, "choices": [], "usage": self._usage(body)})
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()

    async def _event(self, writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
        data = b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await writer.drain()


class Plane:
    """Everything on, in one home. ``call`` runs a coroutine on the data plane's loop."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.loop = uvloop.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.refused: list[Refused] = []
        self.doors_limits = WireLimits(
            head_s=0.6, body_s=0.8, stall_s=1.0, connections=8, body_bytes=256 * 1024
        )
        self.call(self._build())

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _build(self) -> None:
        self.clock = SystemClock()
        control = ControlDatabase(self.home / "control.db")
        self.control = control
        self.audit = AuditLog(self.home / "audit", b"k" * 32, SqlHeads(control), self.clock)
        self.registry = SqlRegistry(control, Trust.INTERNAL, self.clock)
        store = SqlKeyStore(control)
        keys = SigningKeys(store, Barrier(b"r" * 32), self.clock)
        self.authority = Authority(keys, self.registry, self.clock, store, audited(self.audit))
        self.credentials = Credentials(SqlCredentialStore(control), self.registry, self.clock)
        self.limits: dict[str, Limits] = {}
        self.governor = Governor(
            self.clock.monotonic_us, lambda key: self.limits.get(key, Limits()), wall_s=self.clock.now
        )
        self.prices = PriceBook(self.clock)
        self.weights: dict[str, int] = {}
        self.lanes = ("interactive", "batch")
        self.policies = PolicySet()
        self.turnstiles = Turnstiles(self.clock, lambda tenant: self.weights.get(tenant, 1))
        burndown = load_burndown()
        self.outbox = Outbox(self.home / "usage")
        self.books = SqlBooks(control)
        self.recorder = Recorder(self.outbox, self.books)
        await self.recorder.start()
        self.under_way = UnderWay(self.home / "under-way")
        self.under_way.begin()
        self.reports = UsageReports(self.recorder, self.books, self.clock)
        models = SqlModels(control)
        self.endpoint_keys = Keys()
        self.catalog = Catalog(models, self.endpoint_keys)
        self.entitlements = Entitlements(models)
        self.patience = Patience(connect_s=0.5, first_byte_s=1.5, between_bytes_s=1.5)
        self.upstreams = Upstreams(self.catalog, self.endpoint_keys.get, self.patience)
        self.server = Server()
        await self.server.start()
        self.catalog.add_endpoint(
            "main", "openai", self.server.url, ["m1", "m2", "m3", PRICED], "sk-upstream"
        )
        parts = Parts(
            clock=self.clock, limits=self.governor, estimator=Estimator(), recorder=self.recorder,
            prices=self.prices, catalog=self.catalog, entitlements=self.entitlements,
            upstreams=self.upstreams, refusals=RefusalLog(self.refused.append),
            burn=lambda endpoint, model: burndown.find("openai", "*", model, date(2026, 11, 25)),
            lanes=lambda _tenant: self.lanes, turnstiles=self.turnstiles,
            policing=Policing(self.policies, self.governor, lambda _tenant: ("pro", ())),
            under_way=self.under_way,
        )  # fmt: skip
        self.plane = DataPlane(parts)
        self.verifier = self.authority.verifier(Gateway)
        self.doors = Doors(self.home / "run", self.verifier, self.plane, self.doors_limits)
        caller = KeyCaller(
            self.verifier,
            self.authority,
            self.credentials,
            self.clock,
            lambda _t, _a: Deployed("desk", frozenset({"m1"})),
        )
        self.listener = PublicListener(self.plane, caller, "127.0.0.1", 0)
        await self.listener.start()

    def tenant(self, name: str, *models: str) -> TenantId:
        tenant = TenantId(name)
        self.registry.create(tenant, Tier.PRO)
        for model in models or ("m1",):
            self.entitlements.entitle(name, model)
        return tenant

    def key(self, tenant: TenantId, **bound: Any) -> str:
        return self.credentials.create_key(tenant, "test", **bound).secret

    def door(self, tenant: TenantId, *models: str, agent: str = "worker", uid: int | None = None) -> Door:
        run = RunId(mint("run", self.clock))
        path = f"agent/{agent}/run/{run}"
        token = RenewingToken(self.authority, self.clock, tenant, path, Gateway, run=run)
        return self.call(self.doors.open(token, run=run, agent=agent, models=models or ("m1",), uid=uid))

    def usage(self, tenant: TenantId) -> Any:
        context = self.authority.verifier(Usage).verify(self.authority.mint(tenant, "operator/t", Usage))
        return self.call(self.reports.report(context)).totals

    def events(self) -> list[Any]:
        """Every usage event, oldest first, once booked."""
        self.call(self.recorder.flush())
        with self.control.read() as connection:
            rows = (
                connection.exec_driver_sql("select * from usage_events order by timestamp").mappings().all()
            )
        return [dict(row) for row in rows]

    def close(self) -> None:
        self.call(self.listener.stop())
        self.call(self.doors.close())
        self.call(self.plane.stop())
        self.call(self.server.stop())
        self.call(self.recorder.stop())
        self.under_way.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.audit.close() if hasattr(self.audit, "close") else None
        self.control.close()


@pytest.fixture
def plane() -> Iterator[Plane]:
    with tempfile.TemporaryDirectory(prefix="insula-") as home:  # short: tests connect by the plain path
        running = Plane(Path(home))
        yield running
        running.close()


class Relay:
    """TCP on loopback to a door's socket: what the agent's first process does inside a sandbox."""

    def __init__(self, door: Path) -> None:
        self._door = str(door)
        self._pumps: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self._server.close()
        await asyncio.gather(*self._pumps)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._door)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        sink.close()


@pytest.fixture
def relay(plane: Plane) -> Iterator[Any]:
    made: list[Relay] = []

    def make(door: Door) -> Relay:
        made.append(Relay(door.path))
        plane.call(made[-1].start())
        return made[-1]

    yield make
    for one in made:
        plane.call(one.stop())
