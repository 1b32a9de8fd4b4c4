"""A real OTLP/HTTP collector on loopback, and calls to tell it of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from insula.kernel.ids import agent_name, run_id, tenant_id
from insula.runs import Invocation
from insula.usage import UsageEvent


class Collector:
    """``spans`` and ``metrics`` hold what was sent to it, in order."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}/v1"
        self.spans: list[Any] = []
        self.metrics: list[Any] = []

    def take(self, path: str, body: bytes) -> None:
        if path.endswith("/traces"):
            for one in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [span for scope in one.scope_spans for span in scope.spans]
        else:
            for other in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics += [metric for scope in other.scope_metrics for metric in scope.metrics]


@pytest.fixture
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.take(self.path, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Collector(server.server_port)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield received
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def call() -> Callable[..., UsageEvent]:
    """Return a call that took two seconds; ``more`` replaces fields."""

    def make(name: str, **more: Any) -> UsageEvent:
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

    return make


@pytest.fixture(scope="session")
def invocation() -> Callable[..., Invocation]:
    """Return a run that took five seconds."""

    def make(run: str, failure: str | None = None, calls: int = 2) -> Invocation:
        began = 1_790_000_000.0
        return Invocation(
            run_id(run), tenant_id("acme"), agent_name("hello"), began, began + 5, failure, calls
        )

    return make
