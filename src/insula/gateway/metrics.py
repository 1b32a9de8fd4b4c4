"""Counters of the data plane: plain integers on the hot path, Prometheus families when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Metrics(Collector):
    """Counts calls by outcome, refusals by code, tokens by direction. No label names a tenant or a run."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.input_tokens = 0
        self.output_tokens = 0
        self.connections = 0
        self.in_flight = 0

    def collect(self) -> Iterator[Metric]:
        """Yield the families, as ``prometheus_client`` asks for them."""
        calls = CounterMetricFamily("insula_gateway_calls", "Model calls that ended", labels=["end"])
        for end, number in sorted(self.calls.items()):
            calls.add_metric([end], number)
        yield calls
        refusals = CounterMetricFamily("insula_gateway_refusals", "Requests refused", labels=["code"])
        for code, number in sorted(self.refusals.items()):
            refusals.add_metric([code], number)
        yield refusals
        tokens = CounterMetricFamily("insula_gateway_tokens", "Tokens metered", labels=["direction"])
        tokens.add_metric(["input"], self.input_tokens)
        tokens.add_metric(["output"], self.output_tokens)
        yield tokens
        yield GaugeMetricFamily("insula_gateway_connections", "Open connections", value=self.connections)
        yield GaugeMetricFamily("insula_gateway_in_flight", "Model calls in flight", value=self.in_flight)
