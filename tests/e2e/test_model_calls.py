"""An unmodified OpenAI client, inside a sandbox and outside: same pipeline, same meter."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

pytestmark = pytest.mark.root

ASK = """
import os, sys
from openai import OpenAI
client = OpenAI()
ask = dict(model="m1", messages=[{"role": "user", "content": "one two three"}])
print(client.chat.completions.create(**ask).choices[0].message.content)
parts = client.chat.completions.create(stream=True, **ask)
print("".join(part.choices[0].delta.content or "" for part in parts))
print([model.id for model in client.models.list()])
"""


@pytest.fixture
def client_of(platform: Any) -> Iterator[Callable[..., openai.OpenAI]]:
    """Makes clients with a tenant's new key, or with a given one; they are closed in the end."""
    with contextlib.ExitStack() as stack:

        def make(tenant: str, key: str | None = None) -> openai.OpenAI:
            secret = key or platform.ok("key", "create", tenant)["key"]
            url = platform.ready["gateway"] + "/v1"
            return stack.enter_context(openai.OpenAI(base_url=url, api_key=secret, max_retries=0))

        yield make


def _ask(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(
        model="m1", messages=[{"role": "user", "content": "one two three"}], **more
    )


def test_an_agent_uses_the_openai_package_as_it_is(
    platform: Any, upstream: Any, tmp_path: Path, write_agent: Any
) -> None:
    folder = write_agent(tmp_path / "asker", ASK, runtime='"openai"', models='["m1"]')
    platform.ok("agent", "deploy", "acme", str(folder))
    run = platform.ok("run", "acme/asker")
    assert run["output"].splitlines() == ["one two three", "one two three ", "['m1']"], run
    assert run["usage"]["input_tokens"] == 40
    assert run["usage"]["output_tokens"] == 6
    sent = [str(one["headers"]) for one in upstream.requests[-2:]]
    assert all(run["run"] not in headers and "acme" not in headers for headers in sent)


def test_a_batch_run_waits_and_calls_in_its_lane(
    platform: Any, upstream: Any, tmp_path: Path, write_agent: Any
) -> None:
    folder = write_agent(tmp_path / "night", ASK, runtime='"openai"', models='["m1"]')
    for tenant in ("acme", "bolt"):
        platform.ok("agent", "deploy", tenant, str(folder))
    assert platform.ok("run", "acme/night", "--lane", "batch")["lane"] == "batch"
    platform.ok("usage", "acme")
    with contextlib.closing(sqlite3.connect(f"file:{platform.home}/control.db?mode=ro", uri=True)) as books:
        lanes = books.execute("select distinct lane from usage_events where agent_id = 'night'").fetchall()
    assert lanes == [("batch",)]
    refused = platform.run("run", "bolt/night", "--lane", "batch")
    assert refused.code != 0 and "has no batch lane" in refused.err
    assert platform.run("run", "acme/night", "--lane", "slow").code == 2


def test_an_application_uses_a_virtual_key(platform: Any, client_of: Any, upstream: Any) -> None:
    client = client_of("acme")
    answer = _ask(client)
    assert answer.choices[0].message.content == "one two three"
    assert answer.usage.completion_tokens == 3
    assert client.api_key not in str(upstream.requests[-1]["headers"])
    before = platform.ok("usage", "acme")
    _ask(client)
    after = platform.ok("usage", "acme")
    assert after["totals"]["input_tokens"] - before["totals"]["input_tokens"] == 20
    assert after["totals"]["output_tokens"] - before["totals"]["output_tokens"] == 3


def test_usage_is_hidden_unless_asked_for(platform: Any, client_of: Any) -> None:
    client = client_of("acme")
    plain = list(_ask(client, stream=True))
    assert all(part.usage is None and part.choices for part in plain)
    asked = list(_ask(client, stream=True, stream_options={"include_usage": True}))
    assert asked[-1].usage.completion_tokens == 3


def test_a_model_without_entitlement_is_refused(platform: Any, client_of: Any) -> None:
    client = client_of("acme")
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model="m2", messages=[{"role": "user", "content": "x"}])
    assert refused.value.status_code in (403, 404)
    assert refused.value.code in ("model_not_entitled", "model_not_found")


def test_a_wrong_key_is_refused(platform: Any, client_of: Any) -> None:
    client = client_of("acme", "ins_vk_nonsense")
    with pytest.raises(openai.AuthenticationError):
        _ask(client)


def test_a_revoked_key_is_refused_at_once(platform: Any, client_of: Any) -> None:
    created = platform.ok("key", "create", "acme")
    client = client_of("acme", created["key"])
    _ask(client)
    platform.ok("key", "revoke", "acme", created["id"])
    with pytest.raises(openai.AuthenticationError):
        _ask(client)


def test_the_limit_that_refused_is_named(platform: Any, client_of: Any) -> None:
    platform.ok("tenant", "create", "tight", "--tier", "pro")
    platform.ok("entitle", "tight", "m1")
    platform.ok("limit", "set", "tight", "--rpm", "2")
    client = client_of("tight")
    with pytest.raises(openai.RateLimitError) as refused:
        for _ in range(4):
            _ask(client)
    headers = refused.value.response.headers
    assert int(headers["retry-after"]) >= 1
    assert headers["x-should-retry"] == "true"
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert refused.value.code == "rate_limit_exceeded"
    assert "tenant" in str(refused.value.body)


def test_a_caller_who_leaves_cancels_upstream_and_pays(platform: Any, client_of: Any, upstream: Any) -> None:
    client = client_of("acme")
    before = platform.ok("usage", "acme")["totals"]
    upstream.cancelled.clear()
    stream = client.chat.completions.create(
        model="m1", messages=[{"role": "user", "content": "go on slowly"}], stream=True
    )
    next(iter(stream))
    left = time.monotonic()
    stream.response.close()
    assert upstream.cancelled.wait(5)
    assert time.monotonic() - left < 2
    after = platform.ok("usage", "acme")["totals"]
    assert after["output_tokens"] > before["output_tokens"]


def test_a_suspended_tenant_is_cut_at_once(platform: Any, client_of: Any) -> None:
    platform.ok("tenant", "create", "rogue", "--tier", "pro")
    platform.ok("entitle", "rogue", "m1")
    client = client_of("rogue")
    _ask(client)
    platform.ok("tenant", "suspend", "rogue")
    with pytest.raises(openai.APIStatusError) as refused:
        _ask(client)
    assert refused.value.status_code in (401, 403)
    platform.ok("tenant", "resume", "rogue")
    _ask(client)
