"""The governed way of a model call: who, entitled, estimated, reserved, dispatched, settled, on the books.

The same for every caller, whatever door or key it comes by. Nothing here waits: the only pauses of a call are
the model server's answer and the write of its usage event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from insula.gateway import openai_errors, quota_headers
from insula.gateway.ask import Ask, Route
from insula.gateway.call import End, ModelCall, Source
from insula.gateway.metrics import Metrics
from insula.gateway.refusals import RefusalLog
from insula.governance import Estimator, Governor
from insula.kernel.clock import Clock
from insula.kernel.errors import AccessError, Draining, InsulaError
from insula.kernel.ids import mint
from insula.models import Catalog, Entitlements, Kind, Upstreams
from insula.models.entitlements import decide
from insula.usage import Tokens, UsageEvent

if TYPE_CHECKING:
    from insula.gateway.caller import Identity
    from insula.gateway.connection import Connection

_log = structlog.get_logger()
_RESERVATION_S = 1800.0
_JSON = b"content-type: application/json\r\n"


class Recorder(Protocol):
    """Where usage events go: the future is done when the event is durable.

    ``check`` raises ``UnavailableError`` while events cannot be recorded.
    """

    def check(self) -> None: ...

    def record(self, event: UsageEvent) -> asyncio.Future[Any]: ...


class Prices(Protocol):
    """What a call costs."""

    def cost_nanousd(self, provider: str, model: str, tokens: Tokens) -> tuple[int, str]: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pipeline is made of. ``strict(tenant)``: whether estimates reserve all of ``max_tokens``."""

    clock: Clock
    governor: Governor
    estimator: Estimator
    recorder: Recorder
    prices: Prices
    catalog: Catalog
    entitlements: Entitlements
    upstreams: Upstreams
    refusals: RefusalLog
    strict: Callable[[str], bool]


class Pipeline:
    """Admits calls and concludes them."""

    def __init__(self, parts: Parts, metrics: Metrics) -> None:
        self.parts = parts
        self.metrics = metrics
        self.governor = parts.governor
        self.draining = False
        self._open: dict[str, ModelCall] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self, connection: Connection, identity: Identity, route: Route, body: bytes) -> None:
        """Admit and dispatch the connection's present request. Raises ``InsulaError`` if it is refused."""
        if self.draining:
            raise Draining("the platform is going down", hint="try again in a moment", retry_after_s=2)
        parts = self.parts
        parts.recorder.check()
        ask = Ask.parse(route, body)
        endpoint = self._entitle(identity, ask)
        request_id = mint("req", parts.clock)
        output = self._estimate(identity, ask)
        upstream_body = ask.upstream_body(endpoint.output_field)
        upstream = parts.upstreams.to(endpoint)
        parts.governor.reserve(
            identity.scope, request_id, 1, ask.input_tokens + output, _RESERVATION_S,
            input_tokens=ask.input_tokens,
        )  # fmt: skip
        started = (parts.clock.now(), parts.clock.monotonic_us())
        call = ModelCall(self, connection, identity, ask, endpoint, request_id, output, started)
        connection.exchange = call
        self._open[request_id] = call
        self._idle.clear()
        call.site.opened()
        call.depart(upstream.send(route.value, upstream_body, call))

    def conclude(self, call: ModelCall, end: End, tokens: Tokens, source: Source) -> asyncio.Future[Any]:
        """Settle the reservation and write the usage event; the future is done when it is durable."""
        parts = self.parts
        self.governor.settle(call.request_id, tokens.total)
        if end == "ok" and source == "provider":
            per_answer = -(-tokens.output // call.ask.copies)
            parts.estimator.learn(call.identity.scope.key, call.ask.model, per_answer)
        metrics = self.metrics
        metrics.calls[end] += 1
        metrics.input_tokens += tokens.input
        metrics.output_tokens += tokens.output
        try:
            return parts.recorder.record(self._event(call, end, tokens, source))
        except (InsulaError, OSError, RuntimeError) as error:
            _log.error("gateway.not_recorded", request=call.request_id, error=type(error).__name__)
            failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed

    def concluded(self, call: ModelCall, failed: bool) -> None:
        """The call is off the hands of the pipeline."""
        if failed:
            self.metrics.calls["not_recorded"] += 1
        del self._open[call.request_id]
        call.site.concluded()
        if not self._open:
            self._idle.set()

    async def idle(self) -> None:
        """Return when no call is open and every usage event is durable."""
        await self._idle.wait()

    def in_flight(self) -> int:
        """Return how many calls are open."""
        return len(self._open)

    # answers

    def head_lines(self, call: ModelCall, *, json: bool = False) -> bytes:
        """Return the header lines of an answer to ``call``."""
        elapsed = (self.parts.clock.monotonic_us() - call.started_us) // 1000
        request_id = call.request_id.encode("ascii")
        clamped = b"x-max-tokens: %d\r\n" % call.ask.output if call.ask.clamped and call.ask.output else b""
        return b"%bx-request-id: %b\r\nrequest-id: %b\r\nopenai-processing-ms: %d\r\n%b%b" % (
            _JSON if json else b"", request_id, request_id, elapsed, clamped,
            quota_headers.lines(self.governor.standing(call.identity.scope)),
        )  # fmt: skip

    def refuse(
        self, connection: Connection, error: InsulaError, identity: Identity | None, request_id: str = "",
        *, close: bool = False,
    ) -> None:  # fmt: skip
        """Answer the connection's present request with ``error``; what concerns rights is audited."""
        request_id = request_id or mint("req", self.parts.clock)
        status, headers, body = openai_errors.render(error, request_id)
        lines = b"%bx-request-id: %b\r\nrequest-id: %b\r\n" % (headers, *[request_id.encode("ascii")] * 2)
        if identity is not None:
            lines += quota_headers.lines(self.governor.standing(identity.scope))
        self.metrics.refusals[error.code] += 1
        if isinstance(error, AccessError):
            self._note(error, identity)
        connection.reply(status, _JSON + lines, body, close=close)

    def stream_error(self, error: InsulaError, request_id: str) -> bytes:
        """Return the event that tells a caller in mid-stream what went wrong."""
        _, kind, code = openai_errors.classify(error)
        return b"data: " + openai_errors.body(error, kind, code, request_id) + b"\n\n"

    # inside

    def _entitle(self, identity: Identity, ask: Ask) -> Any:
        parts = self.parts
        served = parts.catalog.find(ask.model)
        grant = parts.entitlements.find(identity.tenant, ask.model)
        allowance = decide(grant, served.model if served else None, ask.model, identity.models)
        assert served is not None
        ask.fit(allowance)
        return served.endpoint

    def _estimate(self, identity: Identity, ask: Ask) -> int:
        """Return the output tokens to reserve for all the answers asked for."""
        assert ask.output is not None
        strict = self.parts.strict(identity.tenant)
        each = self.parts.estimator.output(identity.scope.key, ask.model, ask.output, strict=strict)
        return each * ask.copies

    def _note(self, error: AccessError, identity: Identity | None) -> None:
        rule = str(error.details.get("rule") or error.code)
        target = str(error.details.get("target") or error.field or "")
        tenant = identity.tenant if identity is not None else None
        actor = identity.subject if identity is not None else "unverified"
        self.parts.refusals.note(tenant, actor, rule, target)

    def _event(self, call: ModelCall, end: End, tokens: Tokens, source: Source) -> UsageEvent:
        ask, identity = call.ask, call.identity
        provider = str(call.endpoint.kind)
        if call.endpoint.kind is Kind.LOCAL:
            cost, version = 0, "local"
        else:
            cost, version = self.parts.prices.cost_nanousd(provider, ask.model, tokens)
        return UsageEvent(
            event_id=call.request_id, tenant_id=identity.tenant, request_id=call.request_id,
            provider=provider, model_id=ask.model, request_model=ask.model,
            endpoint=call.endpoint.name, timestamp=self.parts.clock.now(), started_at=call.started_at,
            input_tokens=tokens.input, output_tokens=tokens.output, cache_read_tokens=tokens.cache_read,
            cache_write_tokens=tokens.cache_write, reasoning_tokens=tokens.reasoning,
            quota_tokens=tokens.total, cost_nanousd=cost, price_version=version,
            agent_id=identity.agent, run_id=identity.run, subject=identity.subject,
            usage_source=source, stream_end=end,
        )  # fmt: skip
