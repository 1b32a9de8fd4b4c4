"""Traces, if the operator wants them: one span for each call and each run, made after its end.

A run is a trace, whose id follows from the run's. Its span is the parent of those of its calls, which are
sent before it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from insula.kernel.entropy import token_bytes
from insula.kernel.errors import Misconfigured
from insula.runs import Invocation
from insula.telemetry import names
from insula.usage import UsageEvent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext

_NANO = 1_000_000_000
_TOOLS = "execute_tool"

Attributes = dict[str, str | int | tuple[str, ...]]


class Traces:
    """Sends spans to an OTLP/HTTP collector in batches, off the path of calls. ``url`` ends in /v1/traces."""

    def __init__(self, url: str) -> None:
        """Raises ``Misconfigured`` when the extra is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            raise Misconfigured(
                "traces need packages that are not installed",
                hint="pip install 'insula[tracing]', or leave INSULA_OTLP_TRACES out",
                field="otlp_traces",
            ) from None
        self._begin(OTLPSpanExporter(endpoint=url))

    def _begin(self, exporter: SpanExporter) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._resource = Resource.create({"service.name": "insula"})
        self._processor = BatchSpanProcessor(exporter)

    def call(self, event: UsageEvent) -> None:
        """Hand over the span of one call; a few microseconds, never waits."""
        self._processor.on_end(span_of(event, self._resource))

    def run(self, run: Invocation) -> None:
        """Hand over the span of a run."""
        self._processor.on_end(span_of_run(run, self._resource))

    def stop(self) -> None:
        """Send what waits. Blocking."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


def _context(name: str, span_id: int | None = None) -> SpanContext:
    """Return the trace that follows from the id of a run or a request, and in it its own span or another."""
    from opentelemetry.trace import SpanContext, TraceFlags

    digest = hashlib.sha256(name.encode()).digest()
    own = int.from_bytes(digest[16:24], "big") or 1
    return SpanContext(
        int.from_bytes(digest[:16], "big"),
        own if span_id is None else span_id,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def span_of(event: UsageEvent, resource: object) -> ReadableSpan:
    """Return the finished span of ``event``."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanKind, Status, StatusCode

    span_id = int.from_bytes(token_bytes(8), "big") or 1
    operation = names.operation(event)
    return ReadableSpan(
        name=f"{operation} {event.request_model or event.model_id}",
        context=_context(event.run_id or event.request_id, span_id),
        parent=_context(event.run_id) if event.run_id else None,
        resource=resource,  # type: ignore[arg-type]
        attributes=attributes_of(event),
        kind=SpanKind.INTERNAL if operation == _TOOLS else SpanKind.CLIENT,
        status=Status(StatusCode.OK if names.error(event) is None else StatusCode.ERROR),
        start_time=int(event.started_at * _NANO),
        end_time=int(event.timestamp * _NANO),
    )


def span_of_run(run: Invocation, resource: object) -> ReadableSpan:
    """Return the finished span of ``run``."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanKind, Status, StatusCode

    attributes: Attributes = {
        names.OPERATION: names.INVOKE,
        names.AGENT: run.agent,
        names.TENANT: run.tenant,
        names.RUN: run.run,
    }
    if run.failure:
        attributes[names.ERROR] = run.failure
    return ReadableSpan(
        name=f"{names.INVOKE} {run.agent}",
        context=_context(run.run),
        resource=resource,  # type: ignore[arg-type]
        attributes=attributes,
        kind=SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR if run.failure else StatusCode.OK),
        start_time=int(run.began_at * _NANO),
        end_time=int(run.ended_at * _NANO),
    )


def attributes_of(event: UsageEvent) -> Attributes:
    """Return the attributes of a call's span: what was used, by whom, never what was said."""
    found = _of_tool(event) if names.operation(event) == _TOOLS else _of_inference(event)
    found |= {
        names.TENANT: event.tenant_id,
        names.REQUEST: event.request_id,
        names.COST: event.cost_nanousd,
        names.PRICES: event.price_version,
        names.QUOTA: event.quota_tokens,
        names.QUEUE_MS: event.queue_ms,
        names.ATTEMPT: event.attempt,
        names.SOURCE: event.usage_source,
    }
    optional = {
        names.AGENT: event.agent_id,
        names.APP: event.app_id,
        names.USER: event.user_id,
        names.RUN: event.run_id,
        names.PARENT_RUN: event.parent_run_id,
        names.ENDPOINT: event.endpoint,
        names.LANE: event.lane,
        names.BURN: event.burn_version,
        names.ERROR: names.error(event),
    }
    return found | {name: value for name, value in optional.items() if value}


def _of_inference(event: UsageEvent) -> Attributes:
    found: Attributes = {
        names.OPERATION: names.operation(event),
        names.PROVIDER: names.provider(event),
        names.REQUEST_MODEL: event.request_model or event.model_id,
        names.RESPONSE_MODEL: event.model_id,
        names.INPUT_TOKENS: event.input_tokens,
        names.OUTPUT_TOKENS: event.output_tokens,
        names.CACHE_READ_TOKENS: event.cache_read_tokens,
        names.CACHE_WRITE_TOKENS: event.cache_write_tokens,
        names.REASONING_TOKENS: event.reasoning_tokens,
    }
    if event.stream_end == "length":
        found[names.FINISH_REASONS] = ("length",)
    return found


def _of_tool(event: UsageEvent) -> Attributes:
    return {names.OPERATION: names.operation(event), names.TOOL: event.model_id}
