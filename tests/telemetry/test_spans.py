"""Spans arrive at a collector: what was used and by whom, and one trace for a run."""

from __future__ import annotations

from typing import Any

from insula.telemetry import Traces
from insula.telemetry.spans import attributes_of

RUN = "run_" + "0" * 26


def told(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_each_call_is_a_span_and_a_run_is_a_trace(collector: Any, call: Any) -> None:
    traces = Traces(f"{collector.base}/traces")
    traces.call(call("req_1", run_id=RUN, agent_id="hello"))
    traces.call(call("req_2", run_id=RUN, stream_end="client_abort", usage_source="partial"))
    traces.call(call("req_3"))
    traces.stop()
    first, second, alone = collector.spans
    assert first.name == "chat m1"
    assert first.trace_id == second.trace_id != alone.trace_id
    assert len({span.span_id for span in collector.spans}) == 3
    assert first.end_time_unix_nano - first.start_time_unix_nano == 2 * 10**9
    assert told(first)["gen_ai.usage.input_tokens"] == 20
    assert told(first)["gen_ai.usage.output_tokens"] == 3
    assert told(first)["gen_ai.agent.name"] == "hello"
    assert told(first)["insula.tenant.id"] == "acme"
    assert told(second)["error.type"] == "client_abort"
    assert second.status.code == 2


def test_a_run_is_the_parent_of_its_calls(collector: Any, call: Any, invocation: Any) -> None:
    traces = Traces(f"{collector.base}/traces")
    traces.call(call("req_1", run_id=RUN))
    traces.run(invocation(RUN))
    traces.run(invocation(RUN[:-1] + "1", failure="timeout"))
    traces.call(call("req_2"))
    traces.stop()
    one, run, failed, alone = collector.spans
    assert run.name == "invoke_agent hello" and not run.parent_span_id
    assert (one.trace_id, one.parent_span_id) == (run.trace_id, run.span_id)
    assert run.end_time_unix_nano - run.start_time_unix_nano == 5 * 10**9
    assert told(run)["gen_ai.operation.name"] == "invoke_agent"
    assert told(run)["gen_ai.agent.name"] == "hello" and told(run)["insula.run.id"] == RUN
    assert "error.type" not in told(run) and run.status.code == 1
    assert told(failed)["error.type"] == "timeout" and failed.status.code == 2
    assert failed.trace_id != run.trace_id and not alone.parent_span_id


def test_names_are_those_of_2026(call: Any) -> None:
    found = attributes_of(
        call("r", cache_read_tokens=4, cache_write_tokens=5, reasoning_tokens=2, provider="bedrock")
    )
    assert found["gen_ai.usage.cache_read.input_tokens"] == 4
    assert found["gen_ai.usage.cache_write.input_tokens"] == 5
    assert found["gen_ai.usage.reasoning.output_tokens"] == 2
    assert found["gen_ai.provider.name"] == "aws.bedrock"
    old = {"gen_ai.system", "gen_ai.usage.cache_creation.input_tokens", "gen_ai.token.type"}
    assert not old & set(found)


def test_what_governed_a_call_is_told_under_our_own_names(call: Any) -> None:
    found = attributes_of(
        call("r", app_id="shop", user_id="u1", lane="batch", queue_ms=12, quota_tokens=50, burn_version="b@1")
    )
    ours = {name: value for name, value in found.items() if name.startswith("insula.")}
    assert ours["insula.app.id"] == "shop" and ours["insula.user.id"] == "u1"
    assert (ours["insula.lane"], ours["insula.queue.ms"], ours["insula.quota.tokens"]) == ("batch", 12, 50)
    assert ours["insula.burn.version"] == "b@1"
    assert "insula.parent_run.id" not in ours


def test_a_budget_that_ends_a_call_is_no_error(collector: Any, call: Any) -> None:
    traces = Traces(f"{collector.base}/traces")
    traces.call(call("req_1", stream_end="length"))
    traces.stop()
    (span,) = collector.spans
    (reasons,) = (one.value.array_value for one in span.attributes if one.key.endswith("finish_reasons"))
    assert [one.string_value for one in reasons.values] == ["length"]
    assert span.status.code == 1 and "error.type" not in told(span)


def test_a_tool_is_a_span_of_its_own_kind(collector: Any, call: Any) -> None:
    traces = Traces(f"{collector.base}/traces")
    traces.call(call("req_1", kind="tool", model_id="search", input_tokens=0, output_tokens=0))
    traces.stop()
    (span,) = collector.spans
    assert span.name == "execute_tool search" and told(span)["gen_ai.tool.name"] == "search"
    assert not {name for name in told(span) if name.startswith("gen_ai.usage")}
