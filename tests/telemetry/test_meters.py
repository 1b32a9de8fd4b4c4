"""Metrics arrive at a collector: totals by tenant and model to the token, and never who the user was."""

from __future__ import annotations

from typing import Any

import pytest

from insula.kernel.errors import Misconfigured
from insula.telemetry import Meters, Telemetry, Traces
from insula.telemetry.meters import labels_of


def points(collector: Any, name: str) -> dict[str, Any]:
    """Return the last points of a metric by tenant; each holds the attributes that it came with."""
    metric = [one for one in collector.metrics if one.name == name][-1]
    data = metric.histogram.data_points if metric.HasField("histogram") else metric.sum.data_points
    found: dict[str, Any] = {}
    for point in data:
        labels = {one.key: one.value.string_value for one in point.attributes}
        found[labels["insula.tenant.id"]] = (point, labels)
    return found


def test_totals_are_exact_and_by_tenant(collector: Any, call: Any) -> None:
    meters = Meters(f"{collector.base}/metrics")
    for number in range(50):
        tenant = "acme" if number % 2 else "blue"
        meters.call(call(f"r{number}", tenant_id=tenant, cache_read_tokens=number % 3, cost_nanousd=7))
    meters.stop()
    used = points(collector, "gen_ai.client.inference.usage.input_tokens")
    assert {tenant: point.as_int for tenant, (point, _) in used.items()} == {"acme": 500, "blue": 500}
    read = points(collector, "gen_ai.client.inference.usage.cache_read.input_tokens")
    assert sum(point.as_int for point, _ in read.values()) == sum(number % 3 for number in range(50))
    assert points(collector, "insula.cost.nanousd")["acme"][0].as_int == 25 * 7
    assert used["acme"][1]["gen_ai.token.modality"] == "unknown"
    assert used["acme"][1]["gen_ai.request.model"] == "m1"


def test_durations_and_sizes_are_histograms(collector: Any, call: Any) -> None:
    meters = Meters(f"{collector.base}/metrics")
    meters.call(call("r1", lane="interactive", queue_ms=1_500))
    meters.call(call("r2", stream_end="upstream_error", usage_source="estimated"))
    meters.stop()
    took = [one for one in collector.metrics if one.name == "gen_ai.client.inference.duration"][-1]
    assert took.unit == "s" and {point.count for point in took.histogram.data_points} == {1}
    assert sum(point.sum for point in took.histogram.data_points) == 4.0
    errors = {one.value.string_value for point in took.histogram.data_points for one in point.attributes}
    assert "upstream_error" in errors
    waited, _ = points(collector, "insula.queue.duration")["acme"]
    assert (waited.count, waited.sum) == (1, 1.5)
    assert points(collector, "gen_ai.client.inference.operation.output_tokens")["acme"][0].sum == 3.0


def test_runs_are_timed_and_their_calls_counted(collector: Any, call: Any, invocation: Any) -> None:
    meters = Meters(f"{collector.base}/metrics")
    meters.run(invocation("run_" + "0" * 26, calls=3))
    meters.call(call("r1"))
    meters.run(invocation("run_" + "1" * 26, calls=4))
    meters.stop()
    took, labels = points(collector, "gen_ai.invoke_agent.duration")["acme"]
    assert (took.count, took.sum) == (2, 10.0)
    assert labels == {"gen_ai.operation.name": "invoke_agent", "insula.tenant.id": "acme"}
    assert points(collector, "gen_ai.invoke_agent.inference_calls")["acme"][0].sum == 7


def test_a_failed_run_says_why(collector: Any, invocation: Any) -> None:
    meters = Meters(f"{collector.base}/metrics")
    meters.run(invocation("run_" + "0" * 26, failure="memory"))
    meters.stop()
    assert points(collector, "gen_ai.invoke_agent.duration")["acme"][1]["error.type"] == "memory"


def test_a_tool_is_timed_as_a_tool(collector: Any, call: Any) -> None:
    meters = Meters(f"{collector.base}/metrics")
    meters.call(call("r1", kind="tool", model_id="search", input_tokens=0, output_tokens=0))
    meters.stop()
    _, labels = points(collector, "gen_ai.execute_tool.duration")["acme"]
    assert labels["gen_ai.tool.name"] == "search"
    assert "gen_ai.client.inference.duration" not in {one.name for one in collector.metrics}


def test_no_metric_names_a_person_an_agent_or_a_run(call: Any) -> None:
    event = call(
        "r1", user_id="jane", agent_id="hers", run_id="run_1", subject="operator/jane", app_id="her-app"
    )
    told = set(labels_of(event).values())
    assert not told & {"jane", "hers", "run_1", "r1", "operator/jane", "her-app"} and "acme" in told


def test_removed_names_are_not_sent(collector: Any, call: Any) -> None:
    meters = Meters(f"{collector.base}/metrics")
    meters.call(call("r1"))
    meters.stop()
    names = {one.name for one in collector.metrics}
    assert names and not names & {"gen_ai.client.token.usage", "gen_ai.client.operation.duration"}


def test_both_see_each_call_and_nobody_costs_nothing(collector: Any, call: Any) -> None:
    assert Telemetry.to(None, None).observe is None
    both = Telemetry.to(f"{collector.base}/traces", f"{collector.base}/metrics")
    assert both.observe is not None
    both.observe(call("r1"))
    both.stop()
    assert len(collector.spans) == 1 and collector.metrics


@pytest.mark.parametrize(("kind", "field"), [(Traces, "otlp_traces"), (Meters, "otlp_metrics")])
def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch, kind: Any, field: str) -> None:
    for name in ("trace_exporter", "metric_exporter"):
        monkeypatch.setitem(__import__("sys").modules, f"opentelemetry.exporter.otlp.proto.http.{name}", None)
    with pytest.raises(Misconfigured) as refused:
        kind("http://127.0.0.1:1/v1")
    assert refused.value.field == field
