"""Governance through a real platform, by the commands and headers that scripts rely on."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx2 as httpx
import pytest

MODEL = "gpt-4o-mini"


@pytest.fixture(scope="module")
def governed(tmp_path_factory: pytest.TempPathFactory, upstream: Any, running_class: Any) -> Any:
    """A platform of its own: limits of the platform would be in the way of other tests."""
    running = running_class(tmp_path_factory.mktemp("governed") / "insula")
    running.ok("endpoint", "add", "up", "--kind", "openai", "--base-url", upstream.base_url, "--model", MODEL)
    yield running
    assert running.stop() == 0


class Tenant:
    """A tenant of its own for each test, and its key."""

    def __init__(self, running: Any, name: str, tier: str = "pro") -> None:
        self.running = running
        self.name = name
        running.ok("tenant", "create", name, "--tier", tier)
        running.ok("entitle", name, MODEL)
        self.key = running.ok("key", "create", name)["key"]

    def call(self, text: str = "a b c", **headers: str) -> httpx.Response:
        return self.calls(1, text, **headers)[0]

    def calls(self, number: int, text: str = "a b c", stream: bool = False, **headers: str) -> list[Any]:
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "stream": stream}
        named = {f"x-insula-{name.replace('_', '-')}": value for name, value in headers.items()}

        async def fire() -> list[httpx.Response]:
            limits = httpx.Limits(max_connections=number)
            async with httpx.AsyncClient(timeout=60, limits=limits) as client:
                url = f"{self.running.ready['gateway']}/v1/chat/completions"
                bearer = {"authorization": f"Bearer {self.key}", **named}
                return await asyncio.gather(
                    *(client.post(url, json=body, headers=bearer) for _ in range(number))
                )

        return asyncio.run(fire())

    def ok(self, *words: str) -> Any:
        return self.running.ok(*words)


@pytest.mark.parametrize("scope", ["platform", "t-scope", "t-scope/web", "t-scope/web/bot"])
def test_every_level_can_be_limited_by_its_name(governed: Any, scope: str) -> None:
    if scope == "t-scope":
        governed.ok("tenant", "create", "t-scope", "--tier", "pro")
    limits = governed.ok("limit", "set", scope, "--tpm", "5000000", "--usd-per-month", "12.50")
    assert (limits["scope"], limits["tpm"], limits["usd_per_month"]) == (scope, 5_000_000, "12.5")
    assert governed.ok("limit", "show", scope)["usd_per_month"] == "12.5"
    lifted = governed.ok("limit", "set", scope, "--unlimited", "usd-per-month", "--unlimited", "tpm")
    assert lifted["usd_per_month"] is lifted["tpm"] is None


@pytest.mark.parametrize(
    "words",
    [
        ("--tpm", "0"),
        ("--rpm", "-5"),
        ("--tpm", "1e400"),
        ("--usd-per-day", "inf"),
        ("--usd-per-day", "-1"),
        ("--usd-per-day", "0.0000000001"),
        ("--tokens-per-day", "99999999999999999999"),
        ("--unlimited", "tmp"),
        ("--from", "yesterday-ish", "--rpm", "5"),
    ],
)
def test_limits_that_are_none_are_refused_when_saved(governed: Any, words: tuple[str, ...]) -> None:
    done = governed.run("limit", "set", "platform", *words, "--json")
    assert done.code == 2, done.out + done.err


def test_how_a_limit_is_lifted_is_told_to_whoever_guesses(governed: Any) -> None:
    done = governed.run("limit", "set", "platform", "--usd-per-day", "unlimited")
    assert done.code == 2 and "--unlimited usd-per-day" in done.err


def test_a_refusal_names_level_and_limit_in_body_and_headers(governed: Any) -> None:
    tenant = Tenant(governed, "t-refused")
    tenant.ok("limit", "set", "t-refused/web", "--rpm", "60", "--rpm-burst", "1")
    assert tenant.call(app="web").status_code == 200
    refused = tenant.call(app="web")
    assert refused.status_code == 429
    assert (refused.headers["x-insula-level"], refused.headers["x-insula-limit"]) == ("application", "rpm")
    error = refused.json()["error"]
    assert (error["level"], error["limit"], error["kind"]) == ("application", "rpm", "rate_limited")
    assert tenant.call(app="web", max_wait="5").status_code == 200, "who may wait, waits"
    assert tenant.call(app="shop").status_code == 200


def test_a_budget_survives_a_kill_and_counts_what_was_used_before_it_was_set(
    start: Any, upstream: Any
) -> None:
    running = start()
    running.ok("endpoint", "add", "up", "--kind", "openai", "--base-url", upstream.base_url, "--model", MODEL)
    tenant = Tenant(running, "acme")
    for _ in range(3):
        assert tenant.call().status_code == 200
    used = running.ok("usage", "acme")["totals"]
    assert used["calls"] == 3 and used["quota_tokens"] == 69
    running.ok("limit", "set", "acme", "--tokens-per-day", str(69 + 23 + 80))
    assert tenant.call().status_code == 200
    running.kill()
    running.start()
    answers = [tenant.call() for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200, 429}
    error = answers[-1].json()["error"]
    assert (error["code"], error["limit"]) == ("budget_exceeded", "tokens_per_day")
    assert running.ok("usage", "acme")["totals"]["quota_tokens"] <= 69 + 23 + 80
    checked = running.ok("ledger", "check")
    assert checked["mismatches"] == 0 and checked["calls"] >= 5


def test_the_books_agree_after_a_crowd(governed: Any) -> None:
    governed.ok("endpoint", "set", "up", "--slots", "4")
    crowd = [Tenant(governed, f"t-crowd{number}") for number in range(3)]
    governed.ok("tenant", "set", "t-crowd0", "--weight", "3")
    for tenant in crowd:
        assert {answer.status_code for answer in tenant.calls(8, lane="batch")} == {200}
        assert {answer.status_code for answer in tenant.calls(4, stream=True)} == {200}
    checked = governed.ok("ledger", "check")
    assert checked["mismatches"] == 0 and checked["calls"] >= 36
    report = governed.ok("usage", "t-crowd0")
    assert report["totals"]["calls"] == 12
    fairness = governed.ok("fairness")
    assert "up" in json.dumps(fairness) and "t-crowd0" in json.dumps(fairness)
    governed.ok("endpoint", "set", "up", "--unlimited", "slots")


def test_a_policy_holds_from_the_next_call_on(governed: Any, tmp_path: Any) -> None:
    tenant = Tenant(governed, "t-policy")
    rule = tmp_path / "rule.cel"
    rule.write_text('usage.day.requests >= 2 ? deny("two a day") : allow()')
    assert tenant.call().status_code == 200
    tenant.ok("policy", "set", "t-policy", str(rule))
    assert tenant.call().status_code == 200
    refused = tenant.call()
    assert refused.status_code == 403 and "two a day" in refused.text


def test_a_limit_of_the_future_holds_when_its_time_has_come(governed: Any) -> None:
    tenant = Tenant(governed, "t-dated")
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    shown = tenant.ok("limit", "set", "t-dated", "--rpm", "60", "--rpm-burst", "1", "--from", soon)
    assert shown["rpm"] == 300, "not yet"
    assert {answer.status_code for answer in tenant.calls(3)} == {200}
    time.sleep(5)
    assert sorted(answer.status_code for answer in tenant.calls(3)) == [200, 429, 429]
    assert [row["rpm"] for row in tenant.ok("limit", "history", "t-dated")["items"]] == [60]
