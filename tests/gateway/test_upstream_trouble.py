"""A model server that fails: the caller is told in its own format, no secret passes, the books are right."""

from __future__ import annotations

from typing import Any

import openai
import pytest

ASK: dict[str, Any] = {"model": "m1", "messages": [{"role": "user", "content": "count"}]}


@pytest.fixture
def client(plane: Any) -> Any:
    key = plane.key(plane.tenant("acme"))
    with openai.OpenAI(base_url=plane.listener.url + "/v1", api_key=key, max_retries=0) as made:
        yield made


@pytest.mark.parametrize(
    ("status", "extra", "seen_as", "retry", "wait"),
    [
        (429, "retry-after: 7\r\n", 429, "true", "7"),
        (429, "", 429, "true", "1"),
        (500, "", 502, "true", None),
        (503, "retry-after-ms: 2500\r\n", 502, "true", "3"),
        (529, "", 502, "true", None),
        (401, "", 502, "true", None),
        (400, "", 400, "false", None),
        (404, "", 400, "false", None),
        (504, "", 504, "true", None),
        (302, "location: http://example.com/\r\n", 502, "true", None),
    ],
)
def test_a_refusal_is_translated(
    client: openai.OpenAI, plane: Any, status: int, extra: str, seen_as: int, retry: str, wait: str | None
) -> None:
    plane.server.status, plane.server.extra_headers = status, extra
    with pytest.raises(openai.APIStatusError) as failed:
        client.chat.completions.create(**ASK)
    answer = failed.value.response
    assert answer.status_code == seen_as
    assert answer.headers["x-should-retry"] == retry
    assert answer.headers.get("retry-after") == wait
    assert answer.headers.get("x-upstream-status") == str(status)
    passes = status in (400, 404)  # the caller's own mistake is told in the server's words, nothing else is
    assert ("sk-secret-part" in answer.text) is passes
    (event,) = plane.events()
    assert (event["stream_end"], event["input_tokens"], event["output_tokens"]) == ("upstream_error", 0, 0)
    assert plane.governor.in_flight() == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000,
    ],
)
def test_an_answer_that_is_none(client: openai.OpenAI, plane: Any, raw: bytes) -> None:
    plane.server.raw = raw
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(**ASK)
    assert failed.value.status_code == 502
    plane.server.raw = None
    assert client.chat.completions.create(**ASK).usage is not None


def test_a_server_that_says_nothing_in_time(client: openai.OpenAI, plane: Any) -> None:
    plane.server.mode = "hang"
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(**ASK)
    assert failed.value.status_code == 504


def test_a_server_that_is_not_there(client: openai.OpenAI, plane: Any) -> None:
    plane.call(_replace(plane, "http://127.0.0.1:1/v1"))
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(**ASK)
    assert failed.value.status_code == 502
    assert "127.0.0.1" not in failed.value.response.text


async def _replace(plane: Any, url: str) -> None:
    plane.catalog.remove("main")
    plane.catalog.add_endpoint("main", "openai", url, ["m1"])


def test_a_stream_cut_by_the_server_is_seen_as_cut(client: openai.OpenAI, plane: Any) -> None:
    plane.server.mode = "cut"
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(stream=True, **ASK))
    (event,) = plane.events()
    assert (event["stream_end"], event["usage_source"]) == ("upstream_error", "partial")
    assert event["output_tokens"] == 2


def test_an_error_inside_a_stream_reaches_the_caller(client: openai.OpenAI, plane: Any) -> None:
    plane.server.mode = "error"
    with pytest.raises(openai.APIError, match="broke"):
        list(client.chat.completions.create(stream=True, **ASK))
    (event,) = plane.events()
    assert event["stream_end"] == "upstream_error"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "usage", [None, {"prompt_tokens": "many"}, {"prompt_tokens": -1, "completion_tokens": 2}]
)
def test_usage_that_is_missing_or_absurd_is_estimated(
    client: openai.OpenAI, plane: Any, stream: bool, usage: Any
) -> None:
    plane.server.usage = usage
    answer = client.chat.completions.create(stream=stream, **ASK)
    if stream:
        list(answer)  # type: ignore[call-overload]
    (event,) = plane.events()
    assert (event["usage_source"], event["stream_end"]) == ("estimated", "ok")
    assert event["input_tokens"] > 0 and event["output_tokens"] > 0


def test_a_kept_connection_that_died_is_replaced_once(client: openai.OpenAI, plane: Any) -> None:
    client.chat.completions.create(**ASK)
    assert plane.server.connections == 1
    client.chat.completions.create(**ASK)
    assert plane.server.connections == 1  # kept
    plane.server.drop_kept = True  # from now on the server closes after each answer
    for _ in range(5):
        client.chat.completions.create(**ASK)
    assert len(plane.events()) == 7


def test_a_removed_endpoint_is_gone_at_once(client: openai.OpenAI, plane: Any) -> None:
    plane.catalog.remove("main")
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(**ASK)
    assert "endpoint/main" not in plane.endpoint_keys.held


def test_a_revoked_grant_and_a_suspended_tenant_cut_at_once(client: openai.OpenAI, plane: Any) -> None:
    plane.entitlements.revoke("acme", "m1")
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(**ASK)
    plane.entitlements.entitle("acme", "m1")
    client.chat.completions.create(**ASK)
    plane.registry.suspend("acme")
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(**ASK)
    assert refused.value.status_code in (401, 403)
    plane.registry.resume("acme")
    client.chat.completions.create(**ASK)


def test_the_output_bound_is_clamped_and_the_context_checked(client: openai.OpenAI, plane: Any) -> None:
    plane.entitlements.entitle("acme", "m1", max_context=100, max_output=50)
    raw = client.chat.completions.with_raw_response.create(max_tokens=80, **ASK)
    assert plane.server.seen[-1]["body"]["max_tokens"] == 50
    assert raw.headers["x-max-tokens"] == "50"
    client.chat.completions.create(**ASK)
    assert plane.server.seen[-1]["body"]["max_tokens"] == 50  # none given: one is set
    client.chat.completions.create(max_completion_tokens=20, **ASK)
    assert plane.server.seen[-1]["body"]["max_completion_tokens"] == 20
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="m1", messages=[{"role": "user", "content": "x" * 4000}])
    assert refused.value.code == "context_length_exceeded"


def test_fields_that_go_around_a_bound_are_stripped(client: openai.OpenAI, plane: Any) -> None:
    evil = {"n_predict": 10**6, "cache_salt": "victim", "cache_prompt": True, "id_slot": 0, "top_k": 3}
    client.chat.completions.create(extra_body=evil, **ASK)
    sent = plane.server.seen[-1]["body"]
    assert sent["top_k"] == 3 and not {"n_predict", "cache_salt", "cache_prompt", "id_slot"} & set(sent)


def test_limits_are_told_as_the_sdk_wants_them(client: openai.OpenAI, plane: Any) -> None:
    from insula.governance import Limits

    plane.governor.set_limits("acme", Limits(tpm=1000))
    with pytest.raises(openai.BadRequestError) as too_large:
        client.chat.completions.create(
            max_tokens=5000, model="m1", messages=[{"role": "user", "content": "x" * 9000}]
        )
    assert too_large.value.code == "request_exceeds_limit"
    assert too_large.value.response.headers["x-should-retry"] == "false"
    raw = client.chat.completions.with_raw_response.create(max_tokens=100, **ASK)
    assert raw.headers["x-ratelimit-limit-tokens"] == "1000"
    assert int(raw.headers["x-ratelimit-remaining-tokens"]) <= 977
    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(max_tokens=990, **ASK)
    assert (limited.value.type, limited.value.code) == ("tokens", "rate_limit_exceeded")
    assert float(limited.value.response.headers["retry-after-ms"]) > 0


def test_draining_admits_nobody_and_lets_calls_end(client: openai.OpenAI, plane: Any) -> None:
    plane.server.words, plane.server.pace_s = ["word "] * 20, 0.02
    stream = client.chat.completions.create(stream=True, **ASK)
    next(iter(stream))
    import asyncio

    draining = asyncio.run_coroutine_threadsafe(plane.plane.drain(5), plane.loop)
    assert sum(1 for _ in stream) >= 15
    draining.result(5)
    (event,) = plane.events()
    assert event["stream_end"] == "ok"
