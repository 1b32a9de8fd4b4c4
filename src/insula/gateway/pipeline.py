"""The governed way of a model call: who, entitled, allowed, estimated, its turn, reserved, dispatched,
settled, on the books.

The same for every caller, whatever door or key it comes by. A call pauses for its turn at the model's
endpoint, for its quota if its caller waits for it, for the model server's answer and for the write of its
usage event; for nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from insula.gateway import openai_errors, quota_headers
from insula.gateway.accounts import Debits, event_of, sent_call, used_so_far
from insula.gateway.admission import Admission
from insula.gateway.ask import Ask, Route
from insula.gateway.call import End, ModelCall, Source
from insula.gateway.estimating import Estimating, ceiling_of
from insula.gateway.metrics import Metrics
from insula.gateway.policing import Policing
from insula.gateway.refusals import RefusalLog
from insula.gateway.terms import Terms, read_terms
from insula.gateway.turnstiles import Turnstiles, fair_cost
from insula.gateway.upstream_errors import wait_of
from insula.gateway.valuation import Price, Valuation
from insula.governance import Estimator, Hard
from insula.governance.burndown import Burn
from insula.governance.fairness import Lane, must_have
from insula.governance.ledger import Ledgers
from insula.governance.stores import LimitStore
from insula.governance.stores.contract import Soon
from insula.kernel.clock import Clock
from insula.kernel.errors import AccessError, Draining, InsulaError
from insula.kernel.ids import mint
from insula.models import Catalog, Endpoint, Entitlements, Upstreams
from insula.models.entitlements import decide
from insula.usage import Sent, Tokens, UsageEvent, Used

if TYPE_CHECKING:
    from insula.gateway.caller import Identity
    from insula.gateway.connection import Connection
    from insula.gateway.turnstile import Turnstile

_log = structlog.get_logger()
_RESERVATION_S = 1800.0
_SLOT_WAIT_S = 30.0
_JSON = b"content-type: application/json\r\n"


class Recorder(Protocol):
    """Where usage events go: the future is done when the event is durable.

    ``check`` raises ``UnavailableError`` while events cannot be recorded.
    """

    def check(self) -> None: ...

    def record(self, event: UsageEvent) -> asyncio.Future[Any]: ...


class Prices(Protocol):
    """What calls cost: the price of a model as it stands now."""

    def quote(self, provider: str, model: str) -> Price: ...


class Remembering(Protocol):
    """Remembers which calls are under way, so that a crash loses none of them."""

    def sent(self, call: Sent) -> None: ...

    def progressed(self, request_id: str, used: Used) -> None: ...

    def ended(self, request_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pipeline is made of.

    ``burn(endpoint, model)`` returns the burndown in force now; ``lanes(tenant)`` which lanes its tier has.
    """

    clock: Clock
    limits: LimitStore
    estimator: Estimator
    recorder: Recorder
    prices: Prices
    catalog: Catalog
    entitlements: Entitlements
    upstreams: Upstreams
    refusals: RefusalLog
    burn: Callable[[Endpoint, str], Burn]
    lanes: Callable[[str], tuple[str, ...]]
    turnstiles: Turnstiles
    policing: Policing
    under_way: Remembering | None = None
    ledgers: Ledgers | None = None


class Pipeline:
    """Admits calls and concludes them."""

    def __init__(self, parts: Parts, metrics: Metrics) -> None:
        self.parts = parts
        self.metrics = metrics
        self.limits = parts.limits
        self.turnstiles = parts.turnstiles
        self.turnstiles.begin(self._reserve, parts.limits.cancel)
        self.estimating = Estimating(parts.estimator, parts.limits)
        self.draining = False
        self._open: dict[str, ModelCall] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    # on the way in

    def start(
        self,
        connection: Connection,
        identity: Identity,
        route: Route,
        headers: dict[bytes, bytes],
        body: bytes,
    ) -> None:
        """Take the connection's present request in. Raises ``InsulaError`` if it is refused at once."""
        if self.draining:
            raise Draining("the platform is going down", hint="try again in a moment", retry_after_s=2)
        parts = self.parts
        parts.recorder.check()
        terms = read_terms(headers)
        ask = Ask.parse(route, body)
        scope = identity.within(terms.app)
        endpoint = self._entitle(identity, ask)
        valuation = Valuation(
            parts.burn(endpoint, ask.model), parts.prices.quote(str(endpoint.kind), ask.model)
        )
        lane = self._lane(identity, terms)
        started = (parts.clock.now(), parts.clock.monotonic_us())
        admission = Admission(
            self, connection, identity, scope, ask, endpoint, valuation, mint("req", parts.clock), lane,
            started,
        )  # fmt: skip
        self.estimating.estimate(admission)
        if parts.policing.active and parts.policing.judge(admission):
            self.estimating.estimate(admission)
        self._time(admission, terms)
        connection.exchange = admission
        self.turnstiles.at(endpoint).enter(admission)

    def dispatch(self, admission: Admission) -> None:
        """Send an admitted call to its endpoint."""
        connection = admission.connection
        assert connection is not None
        ask, endpoint = admission.ask, admission.endpoint
        bound = self.estimating.bound(admission)
        try:
            body = ask.upstream_body(endpoint.output_field)
            upstream = self.parts.upstreams.to(endpoint)
        except InsulaError as error:
            self.limits.cancel(admission.request_id)
            self._leave_turnstile(admission, 0)
            admission.refused(error)
            return
        admission.connection = None
        call = ModelCall(self, connection, admission, bound)
        connection.exchange = call
        self._open[admission.request_id] = call
        self._idle.clear()
        call.site.opened()
        if self.parts.under_way is not None:
            tokens = Tokens(input=admission.read)
            used = used_so_far(tokens, admission.valuation.used(tokens))
            self.parts.under_way.sent(sent_call(call, used))
        call.depart(upstream.send(ask.route.value, body, call))

    # while it runs

    def progress(self, call: ModelCall, output: int) -> None:
        """Debit what a stream has used so far."""
        admission = call.admission
        tokens = Tokens(input=admission.read, output=output)
        used = admission.valuation.used(tokens)
        self.limits.progress(call.request_id, used)
        if admission.queued:
            cost = fair_cost(admission, tokens, self._held_us(call))
            self._turnstile(admission).queue.progress(call.request_id, cost)
        if self.parts.under_way is not None:
            self.parts.under_way.progressed(call.request_id, used_so_far(tokens, used))

    def extend(self, call: ModelCall, bound: int) -> Soon[int]:
        """Ask the budgets to bear more output than ``bound``; return what they bear, or promise to."""
        admission = call.admission
        if bound >= ceiling_of(admission):
            return bound
        answer = self.limits.extend(call.request_id, self.estimating.more(admission, bound))
        if isinstance(answer, Hard):
            return self.estimating.borne(admission, answer)
        promise: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: self._keep(promise, done, admission))
        return promise

    def again(self, call: ModelCall, headers: dict[bytes, bytes]) -> bool:
        """Let a call that its endpoint did not take wait for another turn; ``False`` if it cannot wait."""
        admission = call.admission
        connection = call.give_up_connection()
        admission.connection = connection
        if not self._turnstile(admission).again(admission, wait_of(headers) or 1.0):
            call.take_connection(connection)
            admission.connection = None
            return False
        self.metrics.calls["requeued"] += 1
        connection.exchange = admission
        self._gone(call)
        return True

    # at its end

    def conclude(self, call: ModelCall, end: End, tokens: Tokens, source: Source) -> asyncio.Future[Any]:
        """Settle every account and write the usage event; the future is done when it is durable."""
        parts, admission = self.parts, call.admission
        used = admission.valuation.used(tokens)
        # After a crash from here on, the bill is what the limits were debited.
        if parts.under_way is not None:
            parts.under_way.progressed(call.request_id, used_so_far(tokens, used))
        self.limits.settle(call.request_id, used)
        held_us = self._held_us(call)
        cost = fair_cost(admission, tokens, held_us) if admission.queued else 0
        if end == "ok" and source == "provider":
            self.estimating.learn(admission, tokens, held_us)
            self._turnstile(admission).eased()
        charged = self._leave_turnstile(admission, cost)
        ledger = used.quota if self.limits.ledgered(admission.scope) else 0
        debits = Debits(used, ledger, cost, charged)
        metrics = self.metrics
        metrics.calls[end] += 1
        metrics.input_tokens += tokens.input
        metrics.output_tokens += tokens.output
        try:
            return parts.recorder.record(event_of(call, end, tokens, source, debits, parts.clock.now()))
        except (InsulaError, OSError, RuntimeError) as error:
            _log.error("gateway.not_recorded", request=call.request_id, error=type(error).__name__)
            failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed

    def concluded(self, call: ModelCall, failed: bool) -> None:
        """The call is off the hands of the pipeline."""
        if failed:
            self.metrics.calls["not_recorded"] += 1
        elif self.parts.under_way is not None:
            self.parts.under_way.ended(call.request_id)
        self._gone(call)

    async def idle(self) -> None:
        """Return when no call is open and every usage event is durable."""
        await self._idle.wait()

    def in_flight(self) -> int:
        """Return how many calls are open."""
        return len(self._open)

    # answers

    def head_lines(self, call: ModelCall, *, json: bool = False) -> bytes:
        """Return the header lines of an answer to ``call``."""
        admission, ask = call.admission, call.ask
        elapsed = (self.parts.clock.monotonic_us() - admission.started_us) // 1000
        request_id = call.request_id.encode("ascii")
        more = b"x-max-tokens: %d\r\n" % ask.output if ask.clamped and ask.output else b""
        if admission.queue_us >= 1000:
            more += b"x-queue-ms: %d\r\n" % (admission.queue_us // 1000)
        return b"%bx-request-id: %b\r\nrequest-id: %b\r\nopenai-processing-ms: %d\r\n%b%b" % (
            _JSON if json else b"", request_id, request_id, elapsed, more,
            quota_headers.lines(self.limits.standing(admission.scope)),
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
            lines += quota_headers.lines(self.limits.standing(identity.scope))
        self.metrics.refusals[error.code] += 1
        if isinstance(error, AccessError):
            self._note(error, identity)
        connection.reply(status, _JSON + lines, body, close=close)

    def stream_error(self, error: InsulaError, request_id: str) -> bytes:
        """Return the event that tells a caller in mid-stream what went wrong."""
        _, kind, code = openai_errors.classify(error)
        return b"data: " + openai_errors.body(error, kind, code, request_id) + b"\n\n"

    # inside

    def _entitle(self, identity: Identity, ask: Ask) -> Endpoint:
        parts = self.parts
        served = parts.catalog.find(ask.model)
        grant = parts.entitlements.find(identity.tenant, ask.model)
        allowance = decide(grant, served.model if served else None, ask.model, identity.models)
        assert served is not None
        ask.fit(allowance)
        return served.endpoint

    def _lane(self, identity: Identity, terms: Terms) -> Lane:
        if terms.lane is None:
            return identity.lane
        must_have(terms.lane, self.parts.lanes(identity.tenant), identity.tenant, "x-insula-lane")
        return terms.lane

    def _time(self, admission: Admission, terms: Terms) -> None:
        """Say how long the call may wait: for a slot as is usual, for a quota only if its caller says so."""
        wait_s = terms.max_wait_s
        if wait_s is None:
            admission.slot_wait_s = _SLOT_WAIT_S
            return
        most = self.limits.queue_wait_s(admission.scope)
        admission.slot_wait_s = wait_s
        admission.wait_s = wait_s if most is None else min(wait_s, float(most))

    def _reserve(self, admission: Admission) -> Any:
        return self.limits.reserve(admission.scope, admission.request_id, admission.need, _RESERVATION_S)

    def _keep(self, promise: asyncio.Future[int], done: asyncio.Future[Hard], admission: Admission) -> None:
        if promise.done():
            return
        error = done.exception()
        if error is not None:
            promise.set_exception(error)
        else:
            promise.set_result(self.estimating.borne(admission, done.result()))

    def _turnstile(self, admission: Admission) -> Turnstile:
        """Return the turnstile that a call went through; its endpoint may have changed since."""
        assert admission.turnstile is not None
        return admission.turnstile

    def _leave_turnstile(self, admission: Admission, cost: int) -> int:
        """Free the call's slot; return what the fair queue charged for it in all."""
        charged = self._turnstile(admission).done(admission, cost)
        self.turnstiles.poke(admission.scope.tenant)
        return charged

    def _held_us(self, call: ModelCall) -> int:
        return self.parts.clock.monotonic_us() - call.sent_us

    def _gone(self, call: ModelCall) -> None:
        del self._open[call.request_id]
        call.site.concluded()
        if not self._open:
            self._idle.set()

    def _note(self, error: AccessError, identity: Identity | None) -> None:
        rule = str(error.details.get("rule") or error.code)
        target = str(error.details.get("target") or error.field or "")
        tenant = identity.tenant if identity is not None else None
        actor = identity.subject if identity is not None else "unverified"
        self.parts.refusals.note(tenant, actor, rule, target)
