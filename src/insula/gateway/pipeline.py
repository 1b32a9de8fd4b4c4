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
from insula.gateway.admission import Admission
from insula.gateway.ask import Ask, Route
from insula.gateway.call import End, ModelCall, Source
from insula.gateway.metrics import Metrics
from insula.gateway.policing import Policing
from insula.gateway.refusals import RefusalLog
from insula.gateway.terms import Terms, read_terms
from insula.gateway.turnstiles import Turnstiles, fair_cost
from insula.gateway.upstream_errors import wait_of
from insula.gateway.valuation import Price, Valuation
from insula.governance import Amounts, Estimator, Hard, Need
from insula.governance.burndown import Burn
from insula.governance.fairness import Lane
from insula.governance.ledger import Ledgers
from insula.governance.stores import LimitStore
from insula.governance.stores.contract import Soon
from insula.kernel.clock import Clock
from insula.kernel.errors import AccessError, Denied, Draining, InsulaError
from insula.kernel.ids import mint
from insula.models import Catalog, Endpoint, Entitlements, Upstreams
from insula.models.entitlements import decide
from insula.usage import Sent, Tokens, UsageEvent

if TYPE_CHECKING:
    from insula.gateway.caller import Identity
    from insula.gateway.connection import Connection
    from insula.gateway.turnstile import Turnstile

_log = structlog.get_logger()
_RESERVATION_S = 1800.0
_SLOT_WAIT_S = 30.0
_LEAST_STEP = 64
_GUESS_US = 1_000  # too little is put right when the call ends; too much would let its tenant lead for long
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

    def progressed(self, call: Sent) -> None: ...

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
        self._estimate(admission)
        if parts.policing.active and parts.policing.judge(admission):
            self._estimate(admission)
        self._time(admission, terms)
        connection.exchange = admission
        self.turnstiles.at(endpoint).enter(admission)

    def expected_cost(self, admission: Admission) -> tuple[int, bool]:
        """Return what a call is expected to cost where it queues, and whether that is a mere guess."""
        scope, ask = admission.scope, admission.ask
        estimator = self.parts.estimator
        likely = estimator.expected(scope.learning, ask.model, admission.reserved_output)
        tokens = Tokens(input=admission.read, output=likely)
        held_us = estimator.duration_us(scope.learning, ask.model)
        return fair_cost(admission, tokens, held_us or _GUESS_US), held_us == 0

    def dispatch(self, admission: Admission) -> None:
        """Send an admitted call to its endpoint."""
        connection = admission.connection
        assert connection is not None
        ask, endpoint = admission.ask, admission.endpoint
        bound = self._bound(admission)
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
            self.parts.under_way.sent(_sent(call, tokens, admission.valuation.used(tokens)))
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
            self.parts.under_way.progressed(_sent(call, tokens, used))

    def ahead(self, call: ModelCall) -> int:
        """Return by how many tokens of output a stream's hold is raised at a time."""
        return max(_LEAST_STEP, call.admission.reserved_output // 2)

    def extend(self, call: ModelCall, bound: int) -> Soon[int]:
        """Ask the budgets to bear more output than ``bound``; return what they bear, or promise to."""
        admission = call.admission
        assert admission.ask.output is not None
        ceiling = admission.ask.output * admission.ask.copies
        if bound >= ceiling:
            return bound
        valuation, read = admission.valuation, admission.ask.input_bound
        want = valuation.hard(read, min(ceiling, bound + self.ahead(call)))
        held = admission.hard
        more = Hard(max(0, want.quota - held.quota), max(0, want.nanousd - held.nanousd))
        answer = self.limits.extend(call.request_id, more)
        if isinstance(answer, Hard):
            return self._borne(admission, answer, ceiling)
        promise: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: self._keep(promise, done, admission, ceiling))
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
        self.limits.settle(call.request_id, used)
        held_us = self._held_us(call)
        cost = fair_cost(admission, tokens, held_us) if admission.queued else 0
        if end == "ok" and source == "provider":
            self._learn(call, tokens, held_us)
        charged = self._leave_turnstile(admission, cost)
        metrics = self.metrics
        metrics.calls[end] += 1
        metrics.input_tokens += tokens.input
        metrics.output_tokens += tokens.output
        try:
            return parts.recorder.record(self._event(call, end, tokens, source, used, (cost, charged)))
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
        if terms.lane is None or terms.lane is Lane.INTERACTIVE:
            return Lane.INTERACTIVE
        if terms.lane not in self.parts.lanes(identity.tenant):
            raise Denied(
                f"the tier of {identity.tenant} has no {terms.lane} lane",
                hint="leave x-insula-lane out, or ask for a higher tier",
                field="x-insula-lane",
                rule="lane.not_in_tier",
            )
        return terms.lane

    def _estimate(self, admission: Admission) -> None:
        """Say what the call will probably use, and what its budgets must bear."""
        parts, ask, scope = self.parts, admission.ask, admission.scope
        assert ask.output is not None
        estimator, burn = parts.estimator, admission.valuation.burn
        strict = parts.limits.strict(scope)
        read = estimator.input(scope.learning, ask.model, ask.input_tokens)
        each = estimator.output(scope.learning, ask.model, ask.output, strict=strict)
        produced = each * ask.copies
        quota, read_quota, produced_quota = burn.parts(read, output=produced)
        charge = Amounts(0, read_quota, read_quota, 0, 0)
        estimate = Amounts(1, quota, read_quota, produced_quota, 0)
        admission.read, admission.reserved_output = read, produced
        admission.need = Need(estimate, charge=charge, run=admission.identity.run)
        admission.bounded = parts.limits.budgeted(scope)
        if admission.bounded:
            self._budget(admission, produced)

    def _budget(self, admission: Admission, produced: int) -> None:
        """Ask the budgets for all the call may use if its caller said how much, else for what is likely.

        A caller that set a bound gets what is left, however little. Of the others none is sent that would
        probably be cut to less than half of its answer.
        """
        ask, valuation = admission.ask, admission.valuation
        assert ask.output is not None
        if not valuation.price.known and self.limits.pays(admission.scope):
            raise Denied(
                f"nobody knows what {ask.model} costs, so a budget of money cannot bound it",
                hint="the operator must give its price (setting prices), or lift the budget",
                field="model",
                rule="price.unknown",
            )
        cap = valuation.hard(ask.input_bound, ask.output * ask.copies)
        if ask.stated:
            want, useful = cap, ask.copies
        else:
            want = valuation.hard(ask.input_bound, produced)
            known = self.parts.estimator.knows(admission.scope.learning, ask.model)
            useful = max(ask.copies, produced // 2 if known else 0)
        least = valuation.hard(ask.input_bound, useful)
        admission.need = admission.need._replace(cap=cap, want=want, least=least)

    def _time(self, admission: Admission, terms: Terms) -> None:
        """Say how long the call may wait."""
        if terms.max_wait_s is not None:
            admission.wait_s = admission.slot_wait_s = terms.max_wait_s
        else:
            admission.wait_s = float(self.limits.queue_wait_s(admission.scope))
            admission.slot_wait_s = max(admission.wait_s, _SLOT_WAIT_S)

    def _reserve(self, admission: Admission) -> Any:
        return self.limits.reserve(admission.scope, admission.request_id, admission.need, _RESERVATION_S)

    def _bound(self, admission: Admission) -> int | None:
        """Return the most output that the budgets bear; bound the call to it where it can only be bounded
        from the start."""
        if not admission.bounded:
            return None
        ask = admission.ask
        assert ask.output is not None
        borne = self._borne(admission, admission.hard, ask.output * ask.copies)
        if ask.stated or not ask.stream:
            each = max(1, borne // ask.copies)
            if each < ask.output:
                ask.clamp(each)
        return borne

    def _borne(self, admission: Admission, held: Hard, ceiling: int) -> int:
        admission.hard = held
        read = admission.ask.input_bound
        whole = admission.valuation.hard(read, ceiling)
        if whole.quota <= held.quota and whole.nanousd <= held.nanousd:
            return ceiling
        return admission.valuation.most_output(read, held, ceiling)

    def _keep(
        self, promise: asyncio.Future[int], done: asyncio.Future[Hard], admission: Admission, ceiling: int
    ) -> None:
        if promise.done():
            return
        error = done.exception()
        if error is not None:
            promise.set_exception(error)
        else:
            promise.set_result(self._borne(admission, done.result(), ceiling))

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

    def _learn(self, call: ModelCall, tokens: Tokens, held_us: int) -> None:
        """Take in what the call did, unless our own bound cut it short."""
        ask, scope, estimator = call.ask, call.admission.scope, self.parts.estimator
        per_answer = -(-tokens.output // ask.copies)
        estimator.observe(scope.learning, ask.model, held_us)
        if ask.stated or not ask.clamped or per_answer < (ask.output or 0):
            estimator.learn(scope.learning, ask.model, per_answer, guess=ask.input_tokens, read=tokens.input)
        self._turnstile(call.admission).eased()

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

    def _event(
        self, call: ModelCall, end: End, tokens: Tokens, source: Source, used: Amounts, fair: tuple[int, int]
    ) -> UsageEvent:
        ask, identity, admission = call.ask, call.identity, call.admission
        valuation = admission.valuation
        return UsageEvent(
            event_id=call.request_id, tenant_id=identity.tenant, request_id=call.request_id,
            provider=str(admission.endpoint.kind), model_id=ask.model, request_model=ask.model,
            endpoint=admission.endpoint.name, timestamp=self.parts.clock.now(),
            started_at=admission.started_at, input_tokens=tokens.input, output_tokens=tokens.output,
            cache_read_tokens=tokens.cache_read, cache_write_tokens=tokens.cache_write,
            cache_write_1h_tokens=tokens.cache_write_1h, reasoning_tokens=tokens.reasoning,
            quota_tokens=used.quota, input_quota_tokens=used.input, output_quota_tokens=used.output,
            burn_version=valuation.burn.version, cost_nanousd=used.nanousd,
            price_version=valuation.price.version,
            app_id=admission.scope.app, agent_id=identity.agent, run_id=identity.run,
            subject=identity.subject, usage_source=source, stream_end=end, lane=str(admission.lane),
            queue_ms=admission.queue_us // 1000, attempt=admission.attempts,
            ledger_tokens=used.quota if self.limits.ledgered(admission.scope) else 0,
            fair_cost=fair[0], fair_charged=fair[1],
        )  # fmt: skip


def _sent(call: ModelCall, tokens: Tokens, used: Amounts) -> Sent:
    """Return a call under way, and what it has used so far, as a crash would leave it to be billed."""
    admission = call.admission
    scope, valuation = admission.scope, admission.valuation
    return Sent(
        call.request_id, scope.tenant, scope.app, scope.agent, call.identity.run, call.identity.subject,
        str(admission.endpoint.kind), admission.endpoint.name, call.ask.model, str(admission.lane),
        admission.started_at, valuation.burn.version, valuation.price.version, tokens.input, tokens.output,
        used.input, used.output, used.quota, used.nanousd,
    )  # fmt: skip
