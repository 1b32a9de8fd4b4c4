"""Traces, if the operator wants them: one span for each model call, made after the call from its usage event.

The spans of a run share a trace, whose id follows from the run's. Names are those of the OpenTelemetry
semantic conventions for generative AI of 2026 (in development there, so they are kept here, in one place).
No prompt, no answer and no credential is ever part of a span. Needs the extra ``tracing``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from insula.kernel.entropy import token_bytes
from insula.kernel.errors import Misconfigured
from insula.usage import UsageEvent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

_NANO = 1_000_000_000


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
        """Hand over the span of one model call; a few microseconds, never waits."""
        self._processor.on_end(span_of(event, self._resource))

    def stop(self) -> None:
        """Send what waits. Blocking."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


def trace_id(event: UsageEvent) -> int:
    """Return 128 bits that all calls of a run share; a call without a run has its own."""
    name = event.run_id or event.request_id
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")


def span_of(event: UsageEvent, resource: object) -> ReadableSpan:
    """Return the finished span of ``event``."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    span_id = int.from_bytes(token_bytes(8), "big") or 1
    sampled = TraceFlags(TraceFlags.SAMPLED)
    context = SpanContext(trace_id(event), span_id, is_remote=False, trace_flags=sampled)
    return ReadableSpan(
        name=f"chat {event.request_model or event.model_id}",
        context=context,
        resource=resource,  # type: ignore[arg-type]
        attributes=attributes_of(event),
        kind=SpanKind.CLIENT,
        status=Status(StatusCode.OK if event.stream_end == "ok" else StatusCode.ERROR),
        start_time=int(event.started_at * _NANO),
        end_time=int(event.timestamp * _NANO),
    )


def attributes_of(event: UsageEvent) -> dict[str, str | int]:
    """Return the attributes of a call's span: what was used, by whom, never what was said."""
    found: dict[str, str | int] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": event.provider,
        "gen_ai.request.model": event.request_model or event.model_id,
        "gen_ai.response.model": event.model_id,
        "gen_ai.usage.input_tokens": event.input_tokens,
        "gen_ai.usage.output_tokens": event.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": event.cache_read_tokens,
        "gen_ai.usage.cache_write.input_tokens": event.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": event.reasoning_tokens,
        "insula.tenant.id": event.tenant_id,
        "insula.request.id": event.request_id,
        "insula.cost.nanousd": event.cost_nanousd,
        "insula.usage.source": event.usage_source,
    }
    if event.agent_id is not None:
        found["gen_ai.agent.name"] = event.agent_id
    if event.run_id is not None:
        found["insula.run.id"] = event.run_id
    if event.stream_end != "ok":
        found["error.type"] = event.stream_end
    return found
