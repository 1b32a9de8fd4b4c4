"""The unmodified OpenAI package, through a door and by key: same pipeline, same meter."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest

ASK: dict[str, Any] = {"model": "m1", "messages": [{"role": "user", "content": "count"}]}


@pytest.fixture(params=["door", "key"])
def client(request: pytest.FixtureRequest, plane: Any, relay: Any) -> Any:
    acme = plane.tenant("acme")
    if request.param == "door":
        base, key = relay(plane.door(acme)).url, "placeholder"
    else:
        base, key = plane.listener.url, plane.key(acme)
    with openai.OpenAI(base_url=base + "/v1", api_key=key, max_retries=0) as made:
        yield made


def test_a_whole_answer(client: openai.OpenAI, plane: Any) -> None:
    answer = client.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == "one two three "
    assert answer.usage is not None and answer.usage.total_tokens == 23
    (event,) = plane.events()
    assert (event["input_tokens"], event["output_tokens"]) == (20, 3)
    assert (event["usage_source"], event["stream_end"], event["tenant_id"]) == ("provider", "ok", "acme")


def test_a_streamed_answer_hides_the_usage_nobody_asked_for(client: openai.OpenAI, plane: Any) -> None:
    parts = list(client.chat.completions.create(stream=True, **ASK))
    assert "".join(part.choices[0].delta.content or "" for part in parts) == "one two three "
    assert all(part.choices and part.usage is None for part in parts)
    assert plane.server.seen[-1]["body"]["stream_options"] == {"include_usage": True}
    (event,) = plane.events()
    assert (event["input_tokens"], event["output_tokens"], event["usage_source"]) == (20, 3, "provider")


def test_a_streamed_answer_shows_the_usage_that_was_asked_for(client: openai.OpenAI) -> None:
    parts = list(client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **ASK))
    assert parts[-1].usage is not None and parts[-1].usage.completion_tokens == 3


def test_plain_completions(client: openai.OpenAI) -> None:
    assert client.completions.create(model="m1", prompt="The sea").choices[0].text == "x"


def test_the_models_are_those_one_may_use(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["m1"]
    assert client.models.retrieve("m1").id == "m1"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("m2")
    assert refused.value.code == "model_not_found"


def test_nothing_of_the_caller_goes_upstream(client: openai.OpenAI, plane: Any) -> None:
    client.chat.completions.create(extra_headers={"x-evil": "1", "cookie": "c"}, **ASK)
    sent = plane.server.seen[-1]["headers"]
    assert sent["authorization"] == "Bearer sk-upstream"
    assert set(sent) == {
        "host", "content-type", "accept", "accept-encoding", "user-agent", "authorization", "content-length"
    }  # fmt: skip


def test_nothing_of_the_server_but_its_answer_comes_back(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**ASK)
    assert "x-internal" not in raw.headers and "set-cookie" not in raw.headers
    assert raw.headers["x-request-id"].startswith("req_")


def test_a_model_that_is_not_granted_does_not_show_that_it_exists(client: openai.OpenAI, plane: Any) -> None:
    refusals = []
    for model in ("m2", "nonsense"):
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.chat.completions.create(**{**ASK, "model": model})
        assert refused.value.code == "model_not_entitled"
        assert refused.value.response.headers["x-should-retry"] == "false"
        refusals.append(refused.value.body["message"].replace(model, "M"))  # type: ignore[index]
    assert refusals[0] == refusals[1]
    assert not plane.server.seen and not plane.events()


def test_an_agents_own_list_narrows(plane: Any, relay: Any) -> None:
    acme = plane.tenant("acme", "m1", "m2")
    base = relay(plane.door(acme, "m2")).url + "/v1"
    with openai.OpenAI(base_url=base, api_key="x", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["m2"]
        with pytest.raises(openai.PermissionDeniedError, match="the agent does not list it"):
            client.chat.completions.create(**ASK)


def test_a_key_and_a_door_meet_the_same_limits(plane: Any, relay: Any) -> None:
    from insula.governance import Limits

    acme = plane.tenant("acme")
    plane.governor.set_limits("acme", Limits(rpm=2))
    door = relay(plane.door(acme)).url
    for base, key in ((door, "x"), (plane.listener.url, plane.key(acme))):
        with openai.OpenAI(base_url=base + "/v1", api_key=key, max_retries=0) as client:
            client.chat.completions.create(**ASK)
    with (
        openai.OpenAI(base_url=door + "/v1", api_key="x", max_retries=0) as client,
        pytest.raises(openai.RateLimitError) as refused,
    ):
        client.chat.completions.create(**ASK)
    headers = refused.value.response.headers
    body: Any = refused.value.body
    assert (body["type"], body["code"], body["level"]) == ("requests", "rate_limit_exceeded", "tenant")
    assert headers["x-should-retry"] == "true" and 1 <= int(headers["retry-after"]) <= 60
    assert headers["x-ratelimit-limit-requests"] == "2" and headers["x-ratelimit-remaining-requests"] == "0"


def test_the_door_as_proxy_refuses_by_name(plane: Any, relay: Any) -> None:
    url = relay(plane.door(plane.tenant("acme"))).url
    with httpx2.Client(proxy=url) as through:
        answer = through.get("http://example.com/secret")
        assert answer.status_code == 403
        assert answer.json()["error"]["rule"] == "egress.denied"
        with pytest.raises(httpx2.ProxyError, match="403"):
            through.get("https://example.com/")
        assert through.get(url + "/v1/models").status_code == 200  # itself, asked for by proxy
    plane.call(plane.plane._parts.refusals.flush())
    assert {refused.rule for refused in plane.refused} == {"egress.denied"}
    assert {refused.tenant for refused in plane.refused} == {"acme"}
