"""Metrics, if the operator wants them: what calls used, how long they and runs took, by tenant and model.

Counters carry the totals; histograms are for percentiles only. A tenant's id is an attribute, a user's, an
agent's or a run's never is: their number has no bound. A call hands its event over and goes on; a thread adds
the events of a second up.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from insula.kernel.errors import Misconfigured
from insula.runs import Invocation
from insula.telemetry import names
from insula.usage import UsageEvent

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter
    from opentelemetry.sdk.metrics.export import MetricExporter

Labels = dict[str, str]

_GATHER_S = 1.0
_EXPORT_MS = 15_000.0
_SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
_RUN_SECONDS = [*_SECONDS[4:], 163.84, 327.68, 655.36, 1310.72, 2621.44, 5242.88]
_CALLS = [float(2**power) for power in range(11)]
_TOKENS = [float(4**power) for power in range(14)]
_COUNTED = {
    names.USED_INPUT: "input_tokens",
    names.USED_OUTPUT: "output_tokens",
    names.USED_CACHE_READ: "cache_read_tokens",
    names.USED_CACHE_WRITE: "cache_write_tokens",
    names.USED_REASONING: "reasoning_tokens",
    names.QUOTA: "quota_tokens",
}


class Meters:
    """Sends metrics to an OTLP/HTTP collector every quarter of a minute. ``url`` ends in /v1/metrics."""

    def __init__(self, url: str) -> None:
        """Raises ``Misconfigured`` when the extra is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        except ImportError:
            raise Misconfigured(
                "metrics need packages that are not installed",
                hint="pip install 'insula[tracing]', or leave INSULA_OTLP_METRICS out",
                field="otlp_metrics",
            ) from None
        self._begin(OTLPMetricExporter(endpoint=url))

    def _begin(self, exporter: MetricExporter) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource

        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=_EXPORT_MS)
        resource = Resource.create({"service.name": "insula"})
        self._provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._instruments = Instruments(self._provider.get_meter("insula"))
        self._ended: deque[UsageEvent | Invocation] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._gather, name="telemetry-meters", daemon=True)
        self._thread.start()

    def call(self, event: UsageEvent) -> None:
        """Hand over one call; less than a microsecond, never waits."""
        self._ended.append(event)

    def run(self, run: Invocation) -> None:
        """Hand over one run."""
        self._ended.append(run)

    def stop(self) -> None:
        """Send what waits. Blocking."""
        self._stopping.set()
        self._thread.join()
        self._provider.shutdown()

    def _gather(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(_GATHER_S)
            ended = [self._ended.popleft() for _ in range(len(self._ended))]
            self._instruments.take([one for one in ended if isinstance(one, UsageEvent)])
            self._instruments.take_runs(one for one in ended if isinstance(one, Invocation))


class Instruments:
    """The instruments, and how events move them."""

    def __init__(self, meter: Meter) -> None:
        token, nano = "{token}", "n{USD}"
        self._counters: dict[str, Counter] = {
            **{name: meter.create_counter(name, unit=token) for name in _COUNTED},
            names.COST: meter.create_counter(names.COST, unit=nano),
            names.CALLS: meter.create_counter(names.CALLS, unit="{call}"),
        }
        self._histograms: dict[str, Histogram] = {
            **{name: _histogram(meter, name, "s", _SECONDS) for name in _TIMES},
            **{name: _histogram(meter, name, token, _TOKENS) for name in _SIZES},
            names.INVOKE_DURATION: _histogram(meter, names.INVOKE_DURATION, "s", _RUN_SECONDS),
            names.INVOKE_CALLS: _histogram(meter, names.INVOKE_CALLS, "{call}", _CALLS),
        }

    def take(self, events: list[UsageEvent]) -> None:
        """Count ``events``: sums of what has the same attributes, each duration and size by itself."""
        alike: defaultdict[Any, list[UsageEvent]] = defaultdict(list)
        for event in events:
            alike[_what_labels_need(event)].append(event)
        for group in alike.values():
            labels = labels_of(group[0])
            for name, where, value in _counted(group, labels):
                self._counters[name].add(value, where)
            for event in group:
                for name, measure in _measured(event):
                    self._histograms[name].record(measure, labels)

    def take_runs(self, runs: Iterable[Invocation]) -> None:
        """Measure ``runs``."""
        for run in runs:
            labels = {names.OPERATION: names.INVOKE, names.TENANT: run.tenant}
            if run.failure:
                labels[names.ERROR] = run.failure
            self._histograms[names.INVOKE_DURATION].record(max(run.ended_at - run.began_at, 0.0), labels)
            self._histograms[names.INVOKE_CALLS].record(run.calls, labels)


_what_labels_need = attrgetter("kind", "tenant_id", "provider", "request_model", "model_id", "stream_end")
_TIMES = (names.DURATION, names.TOOL_DURATION, names.QUEUE_DURATION)
_SIZES = (names.INPUT_SIZE, names.OUTPUT_SIZE)


def labels_of(event: UsageEvent) -> Labels:
    """Return the attributes that a call's metrics carry: few values each, no person among them."""
    operation = names.operation(event)
    found = {names.OPERATION: operation, names.TENANT: event.tenant_id}
    if operation == "execute_tool":
        found[names.TOOL] = event.model_id
    else:
        found[names.PROVIDER] = names.provider(event)
        found[names.REQUEST_MODEL] = event.request_model or event.model_id
        found[names.RESPONSE_MODEL] = event.model_id
    error = names.error(event)
    return found | {names.ERROR: error} if error else found


def _counted(events: list[UsageEvent], labels: Labels) -> Iterator[tuple[str, Labels, int]]:
    """Yield what adds up. No modality is reported to us: tokens are of an unknown one."""
    tokens = {**labels, names.MODALITY: "unknown"}
    for name, field in _COUNTED.items():
        used = sum(getattr(event, field) for event in events)
        if used:
            yield name, tokens, used
    yield names.COST, labels, sum(event.cost_nanousd for event in events)
    yield names.CALLS, labels, len(events)


def _measured(event: UsageEvent) -> list[tuple[str, float]]:
    took = max(event.timestamp - event.started_at, 0.0)
    if names.operation(event) == "execute_tool":
        return [(names.TOOL_DURATION, took)]
    found = [(names.DURATION, took), (names.INPUT_SIZE, event.input_tokens)]
    found.append((names.OUTPUT_SIZE, event.output_tokens))
    return [*found, (names.QUEUE_DURATION, event.queue_ms / 1_000)] if event.lane else found


def _histogram(meter: Meter, name: str, unit: str, bounds: list[float]) -> Any:
    return meter.create_histogram(name, unit=unit, explicit_bucket_boundaries_advisory=bounds)
