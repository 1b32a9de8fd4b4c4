"""The decisions of the data plane that do no I/O: streams, asks, destinations, headers, errors."""

# ruff: noqa: E501  (tables of cases read best as one line each)
from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.gateway import openai_errors
from insula.gateway.ask import Ask, Route
from insula.gateway.destination import DOOR_HOSTS, own_target
from insula.gateway.quota_headers import duration
from insula.gateway.sse import StreamScan
from insula.gateway.upstream_errors import translate
from insula.gateway.wire import Request
from insula.kernel import errors
from insula.models.endpoint import Model
from insula.models.entitlements import Allowance, Entitlement, decide

USAGE = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}


def events(words: list[str], end: str = "\n\n", usage: Any = USAGE) -> bytes:
    lines = [{"choices": [{"delta": {"content": word}}], "usage": None} for word in words]
    tail: list[Any] = [{"choices": [], "usage": usage}]
    texts = [json.dumps(line) for line in lines + tail] + ["[DONE]"]
    return "".join(f"data: {text}{end}" for text in texts).encode()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def words_of(stream: bytes) -> list[str]:
    found = []
    for line in stream.splitlines():
        if line.startswith(b"data: {"):
            found += [choice["delta"]["content"] for choice in json.loads(line[6:])["choices"]]
    return found


@given(
    st.lists(st.text(), max_size=8), st.lists(st.integers(0, 5000), max_size=20), st.booleans(), st.booleans()
)
def test_however_a_stream_is_cut_it_says_the_same(
    words: list[str], places: list[int], show: bool, crlf: bool
) -> None:
    data = events(words, "\r\n\r\n" if crlf else "\n\n")
    scan = StreamScan(show)
    passed = b"".join(scan.feed(part) for part in cut(data, places))
    scan.finish()
    assert words_of(passed) == words
    assert scan.usage == USAGE
    assert b"[DONE]" not in passed.replace(json.dumps(words).encode(), b"") or any(
        "[DONE]" in word for word in words
    )
    assert scan.held.startswith(b"data: [DONE]")
    assert (b'"usage": {' in passed) is show
    if not show:
        assert b'"usage": null' not in passed
    else:
        assert passed + scan.held == data


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30))
def test_the_estimate_of_a_stream_is_at_least_a_token_an_event(words: list[str]) -> None:
    scan = StreamScan(False)
    scan.feed(events(words, usage=None).partition(b'data: {"choices": []')[0])
    assert scan.events == len(words)
    assert scan.tokens() >= len(words)


def test_large_events_are_estimated_by_their_size() -> None:
    scan = StreamScan(False)
    for text in ("", "x" * 4000):
        scan.feed(b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % text.encode())
    assert scan.tokens() == 1000


def test_words_in_the_text_are_not_taken_for_keys() -> None:
    text = json.dumps('say "usage": {"prompt_tokens": 1} and "error" and [DONE]')
    event = b'data: {"choices":[{"delta":{"content":%b}}]}\n\n' % text.encode()
    scan = StreamScan(False)
    assert scan.feed(event) == event
    assert scan.usage is None and not scan.failed and not scan.held


def test_usage_beside_text_is_hidden_and_the_text_kept() -> None:
    scan = StreamScan(False)
    event = {"choices": [{"text": "", "finish_reason": "length"}], "usage": USAGE, "timings": {"a": 1}}
    passed = scan.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    assert json.loads(passed[6:]) == {"choices": event["choices"], "timings": {"a": 1}}
    assert scan.usage == USAGE


def test_an_event_without_end_is_refused() -> None:
    scan = StreamScan(False)
    with pytest.raises(errors.ModelFailed):
        for _ in range(100):
            scan.feed(b"data: " + b"x" * 65_536)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_body_or_a_named_mistake(body: bytes) -> None:
    for route in Route:
        with pytest.raises(errors.InvalidRequest) as refused:
            Ask.parse(route, body)
        assert refused.value.field


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "messages",
    "prompt",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "best_of",
    "tools",
]


@given(st.sampled_from(list(Route)), st.dictionaries(st.sampled_from(KEYS), json_values))
def test_an_ask_is_refused_by_name_or_written_whole(route: Route, fields: dict[str, Any]) -> None:
    sane = {"messages": [{"role": "user", "content": "x"}], "prompt": "x"}
    body = json.dumps({**sane, **fields, "model": "m"}).encode()
    try:
        ask = Ask.parse(route, body)
    except errors.InvalidRequest as refused:
        assert refused.field
        return
    ask.fit(Allowance(None, 100))
    written = json.loads(ask.upstream_body("max_tokens"))
    bounds = [
        written[name] for name in ("max_tokens", "max_completion_tokens") if written.get(name) is not None
    ]
    assert bounds and all(1 <= bound <= 100 for bound in bounds)
    assert ask.input_tokens >= 1 and ask.copies >= 1
    assert not ask.stream or written["stream_options"]["include_usage"] is True


def test_a_key_that_comes_twice_is_checked_as_it_is_sent() -> None:
    ask = Ask.parse(Route.CHAT, b'{"model":"a","model":"b","messages":[{"content":"x"}]}')
    ask.fit(Allowance(None, None))
    assert ask.model == "b"
    assert ask.upstream_body("max_tokens").count(b'"model"') == 1


@pytest.mark.parametrize(
    ("prompt", "copies", "tokens"),
    [("x" * 40, 1, 10), (["x" * 4, "y" * 8], 2, 3), ([1, 2, 3], 1, 3), ([[1], [2, 3]], 2, 3)],
)
def test_prompts_are_counted(prompt: Any, copies: int, tokens: int) -> None:
    ask = Ask.parse(Route.COMPLETIONS, json.dumps({"model": "m", "prompt": prompt}).encode())
    assert (ask.copies, ask.input_tokens) == (copies, tokens)


def test_parts_of_a_message_are_counted() -> None:
    parts = [
        {"type": "text", "text": "x" * 40},
        {"type": "image_url", "image_url": {"url": "data:" + "A" * 99999}},
    ]
    ask = Ask.parse(
        Route.CHAT, json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()
    )
    assert ask.input_tokens == 10 + 4 + 256


@given(st.integers(1, 10**6), st.none() | st.integers(1, 10**6), st.none() | st.integers(1, 10**6))
def test_what_fits_never_exceeds_any_bound(wanted: int, context: int | None, output: int | None) -> None:
    ask = Ask(Route.CHAT, {}, "m", False, False, wanted, 1, 10, 72)
    try:
        allowed = ask.fit(Allowance(context, output))
    except errors.InvalidRequest as refused:
        assert refused.details["code"] == "context_length_exceeded" and context is not None and context <= 10
        return
    assert 1 <= allowed <= wanted
    assert output is None or allowed <= output
    assert context is None or allowed + 10 <= context
    assert ask.clamped is (allowed < wanted)


@given(st.booleans(), st.booleans(), st.none() | st.sets(st.sampled_from("ab")))
def test_a_model_needs_grant_and_server_and_the_agents_list(granted: bool, served: bool, listed: Any) -> None:
    grant = Entitlement("t", "a", 10, None) if granted else None  # type: ignore[arg-type]
    model = Model("a", 5, 7) if served else None
    if granted and served and (listed is None or "a" in listed):
        assert decide(grant, model, "a", listed) == Allowance(5, 7)
    else:
        with pytest.raises(errors.Denied) as refused:
            decide(grant, model, "a", listed)
        assert refused.value.details["rule"] == "model_not_entitled"


def _request(target: bytes, host: bytes | None, method: bytes = b"GET") -> Request:
    request = Request()
    request.method, request.target = method, target
    request.headers = {} if host is None else {b"host": host}
    return request


@pytest.mark.parametrize("host", [b"127.0.0.1:8700", b"LOCALHOST", b"[::1]:80", b"insula", None])
def test_the_doors_own_names(host: bytes | None) -> None:
    assert own_target(_request(b"/v1/models?x=1", host), DOOR_HOSTS) == b"/v1/models"
    if host is not None:
        assert own_target(_request(b"http://" + host + b"/v1/models", host), DOOR_HOSTS) == b"/v1/models"


@pytest.mark.parametrize(
    "host",
    [
        b"example.com",
        b"localhost.example.com",
        b"127.0.0.1.example.com",
        b"localhost@example.com",
        b"",
        b"[::2]",
    ],
)
def test_any_other_name_is_refused(host: bytes) -> None:
    for request in (
        _request(b"/", host),
        _request(b"http://" + host + b"/", b"localhost"),
        _request(host + b":443", host, b"CONNECT"),
    ):
        with pytest.raises(errors.Denied) as refused:
            own_target(request, DOOR_HOSTS)
        assert refused.value.details["rule"] == "egress.denied"


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(0, "0s"), (1, "1ms"), (12_000, "12ms"), (1_000_000, "1s"), (1_500_000, "1.5s"), (59_999_999, "1m0s"),
     (360_000_000, "6m0s"), (3_600_000_000, "1h0m0s"), (3_661_500_000, "1h1m1.5s")],
)  # fmt: skip
def test_durations_are_written_as_go_writes_them(microseconds: int, text: str) -> None:
    assert duration(microseconds) == text


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "retry"),
    [
        (errors.Unauthenticated("x"), 401, "invalid_request_error", "invalid_api_key", "false"),
        (errors.Denied("x", rule="model_not_entitled"), 403, "invalid_request_error", "model_not_entitled", "false"),
        (errors.InvalidRequest("x", code="context_length_exceeded"), 400, "invalid_request_error", "context_length_exceeded", "false"),
        (errors.TooLarge("x"), 413, "invalid_request_error", "request_too_large", "false"),
        (errors.RateLimited("x", retry_after_s=1.2, level="tenant", limit="rpm", kind="rate_limited"), 429, "requests", "rate_limit_exceeded", "true"),
        (errors.RateLimited("x", retry_after_s=1, level="agent", limit="tpm", kind="rate_limited"), 429, "tokens", "rate_limit_exceeded", "true"),
        (errors.RateLimited("x", retry_after_s=1, limit="tpm", kind="full_of_reservations"), 429, "rate_limit_exceeded", "budget_in_flight", "true"),
        (errors.RateLimited("x", retry_after_s=1, limit="in_flight", kind="full_of_reservations"), 429, "requests", "rate_limit_exceeded", "true"),
        (errors.ExceedsLimit("x"), 400, "invalid_request_error", "request_exceeds_limit", "false"),
        (errors.Overloaded("x", retry_after_s=1), 503, "server_error", "overloaded", "true"),
        (errors.ModelFailed("x"), 502, "upstream_error", "model_failed", "true"),
        (errors.ModelTimedOut("x"), 504, "upstream_error", "model_timed_out", "true"),
        (errors.InsulaError("x"), 500, "server_error", "internal_error", "false"),
    ],
)  # fmt: skip
def test_errors_speak_as_the_sdk_expects(error: Any, status: int, kind: str, code: str, retry: str) -> None:
    got, headers, body = openai_errors.render(error, "req_1")
    shown = json.loads(body)["error"]
    assert (got, shown["type"], shown["code"]) == (status, kind, code)
    assert f"x-should-retry: {retry}\r\n".encode() in headers
    assert (b"retry-after: " in headers) is (error.retry_after_s is not None)
    assert shown["request_id"] == "req_1"
    if "level" in error.details:
        assert shown["scope"] == error.details["level"]


@given(
    st.integers(100, 599),
    st.binary(max_size=200),
    st.dictionaries(st.just(b"retry-after"), st.binary(max_size=9)),
)
def test_any_refusal_of_a_server_becomes_an_error(
    status: int, body: bytes, headers: dict[bytes, bytes]
) -> None:
    got, lines, text = openai_errors.render(translate(status, headers, body), "req_1")
    assert got in (400, 429, 502, 504)
    assert lines.endswith(b"\r\n") and json.loads(text)["error"]["message"]
