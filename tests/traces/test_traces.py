"""Spans arrive at a collector: what was used and by whom, and one trace for a run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from insula.traces import Traces
from insula.usage import UsageEvent


def event(name: str, **more: Any) -> UsageEvent:
    fields: dict[str, Any] = {
        "event_id": name,
        "tenant_id": "acme",
        "request_id": name,
        "provider": "openai",
        "model_id": "m1",
        "timestamp": 1_790_000_002.0,
        "started_at": 1_790_000_000.0,
        "input_tokens": 20,
        "output_tokens": 3,
        **more,
    }
    return UsageEvent(**fields)


@pytest.fixture
def collector() -> Iterator[Any]:
    """An OTLP/HTTP collector on loopback; ``spans`` holds what was sent to it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            for resource in sent.resource_spans:
                for scope in resource.scope_spans:
                    server.spans.extend(scope.spans)  # type: ignore[attr-defined]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.spans = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_each_call_is_a_span_and_a_run_is_a_trace(collector: Any) -> None:
    traces = Traces(f"http://127.0.0.1:{collector.server_port}/v1/traces")
    run = "run_" + "0" * 26
    traces.call(event("req_1", run_id=run, agent_id="hello"))
    traces.call(event("req_2", run_id=run, stream_end="client_abort", usage_source="partial"))
    traces.call(event("req_3"))
    traces.stop()
    first, second, alone = collector.spans
    assert first.name == "chat m1"
    assert first.trace_id == second.trace_id != alone.trace_id
    assert len({span.span_id for span in collector.spans}) == 3
    assert first.end_time_unix_nano - first.start_time_unix_nano == 2 * 10**9
    told = {one.key: one.value.string_value or one.value.int_value for one in first.attributes}
    assert told["gen_ai.usage.input_tokens"] == 20
    assert told["gen_ai.usage.output_tokens"] == 3
    assert told["gen_ai.agent.name"] == "hello"
    assert told["insula.tenant.id"] == "acme"
    assert "client_abort" in {one.value.string_value for one in second.attributes}
    assert second.status.code == 2
