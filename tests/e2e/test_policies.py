"""An operator's policy, obeyed and in shadow, as an application outside meets it."""

from __future__ import annotations

from typing import Any

import openai
import pytest


@pytest.fixture
def client(platform: Any) -> Any:
    key = platform.ok("key", "create", "acme")["key"]
    url = platform.ready["gateway"] + "/v1"
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(
        model="m1", messages=[{"role": "user", "content": "one two three"}], **more
    )


SHELL = [{"type": "function", "function": {"name": "shell", "parameters": {"type": "object"}}}]


def test_a_policy_is_tried_in_shadow_then_obeyed(platform: Any, client: Any, tmp_path: Any) -> None:
    text = tmp_path / "shells.cel"
    text.write_text('request.tools.exists(t, t == "shell") ? deny("no shells here") : allow()')
    platform.ok("policy", "set", "acme", str(text), "--shadow")
    ask(client, tools=SHELL)
    (would_be,) = platform.ok("policy", "shadow", "acme")
    assert (would_be["decision"], would_be["reason"]) == ("deny", "no shells here")

    platform.ok("policy", "set", "acme", str(text))
    ask(client)
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(client, tools=SHELL)
    assert caught.value.code == "policy_denied"
    assert "no shells here" in str(caught.value)
    decisions = platform.ok("policy", "show", "acme")["decisions"]
    assert (decisions["allow"], decisions["deny"]) == (1, 1)

    platform.ok("policy", "delete", "acme")
    ask(client, tools=SHELL)


def test_a_limit_bounds_what_is_asked_of_the_model(
    platform: Any, client: Any, upstream: Any, tmp_path: Any
) -> None:
    text = tmp_path / "cap.cel"
    text.write_text("request.max_tokens > 7 ? limit(7) : allow()")
    platform.ok("policy", "set", "acme/chat", str(text))
    ask(client, max_tokens=500, extra_headers={"x-insula-app": "chat"})
    assert upstream.requests[-1]["body"]["max_tokens"] == 7
    ask(client, max_tokens=500)
    assert upstream.requests[-1]["body"]["max_tokens"] == 500
    platform.ok("policy", "delete", "acme/chat")


def test_a_policy_that_fails_denies_and_says_whose_it_is(platform: Any, client: Any, tmp_path: Any) -> None:
    text = tmp_path / "broken.cel"
    text.write_text("1 / (request.max_tokens - 9) >= 0")
    platform.ok("policy", "set", "acme", str(text), "--name", "broken")
    ask(client, max_tokens=10)
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(client, max_tokens=9)
    assert caught.value.code == "operator_policy_failed"
    platform.ok("policy", "delete", "acme", "--name", "broken")
