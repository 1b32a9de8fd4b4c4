"""Budgets on the data plane: never passed, and no call refused that they could have borne."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2 as httpx
import pytest

from insula.governance import Hard, Limits
from insula.governance.policy import Held, Policy
from insula.governance.quota.meter import Use
from insula.kernel.ids import TenantId
from insula.usage import Tokens, UnderWay

PRICED = "gpt-4o-mini"
ASK = {"model": PRICED, "messages": [{"role": "user", "content": "hi"}]}


class Client:
    """Fires calls at the public listener."""

    def __init__(self, plane: Any, tenant: str = "acme", tenants: tuple[str, ...] = ()) -> None:
        self.plane = plane
        self.tenant = tenant
        self.key = plane.key(plane.tenant(tenant, PRICED, "m1"))

    def call(self, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        return self.many(1, headers=headers, **more)[0]

    def many(
        self, number: int, *, headers: dict[str, str] | None = None, **more: Any
    ) -> list[httpx.Response]:
        async def fire() -> list[httpx.Response]:
            limits = httpx.Limits(max_connections=number)
            async with httpx.AsyncClient(timeout=30, limits=limits) as client:
                tasks = [
                    client.post(
                        f"{self.plane.listener.url}/v1/chat/completions",
                        json={**ASK, **more},
                        headers={"authorization": f"Bearer {self.key}", **(headers or {})},
                    )
                    for _ in range(number)
                ]
                return await asyncio.gather(*tasks)

        return asyncio.run(fire())

    def cost(self, read: int, produced: int) -> int:
        return self.plane.prices.quote("openai", PRICED)(Tokens(input=read, output=produced))[0]

    def spent(self) -> int:
        return sum(event["cost_nanousd"] for event in self.plane.events())

    def limit(self, **limits: Any) -> None:
        key = limits.pop("key", self.tenant)
        self.plane.call(self._limit(key, Limits(**limits)))

    async def _limit(self, key: str, limits: Limits) -> None:
        self.plane.governor.set_limits(key, limits)

    def load(self, quota: int = 0, nanousd: int = 0) -> None:
        hour = int(self.plane.clock.now()) // 3600

        async def tell() -> None:
            self.plane.governor.load("tenant", self.tenant, [(hour, Use(quota, nanousd, 1))])

        self.plane.call(tell())


@pytest.fixture
def client(plane: Any) -> Client:
    plane.server.counts = True
    plane.server.words = ["word "] * 80
    return Client(plane)


def admitted(answers: list[httpx.Response]) -> int:
    assert {answer.status_code for answer in answers} <= {200, 429}, [a.text for a in answers[:3]]
    return sum(answer.status_code == 200 for answer in answers)


def test_a_rate_that_affords_ten_calls_admits_at_least_nine_at_once(client: Client) -> None:
    for _ in range(4):
        assert client.call().status_code == 200
    client.plane.server.pace_s = 0.3
    client.limit(tpm=1000)
    assert 9 <= admitted(client.many(64)) <= 10


def test_a_budget_that_affords_five_calls_admits_five_at_once(client: Client) -> None:
    for _ in range(4):
        client.call()
    client.plane.server.pace_s = 0.3
    before = client.spent()
    budget = client.cost(20, 80) * 59 // 10
    client.limit(nanousd_per_month=budget)
    answers = client.many(64)
    assert admitted(answers) == 5
    assert client.spent() - before <= budget
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["limit"] == "usd_per_month"


@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_is_never_passed_whatever_the_concurrency(client: Client, stream: bool) -> None:
    budget = client.cost(20, 80) * 7
    client.limit(nanousd_per_day=budget)
    while admitted(client.many(16, stream=stream)):
        assert client.spent() <= budget
    assert client.spent() <= budget
    last = client.call()
    assert last.status_code == 429
    error = last.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "budget_exceeded")
    assert error["reset_at"].endswith("T00:00:00.000Z") and error["scope"] == "tenant"
    assert last.headers["x-should-retry"] == "false" and "retry-after" not in last.headers
    assert last.headers["x-insula-limit"] == "usd_per_day"


def test_what_the_budget_has_left_bounds_max_tokens(client: Client) -> None:
    read = 4 * 5 + 32  # what the gateway takes "hi" for at most
    client.limit(nanousd_per_day=client.cost(read, 50))
    answer = client.call(max_tokens=200)
    assert answer.status_code == 200
    assert client.plane.server.seen[-1]["body"]["max_tokens"] == 50
    assert answer.headers["x-max-tokens"] == "50"
    assert answer.json()["usage"]["completion_tokens"] == 50


def test_a_stream_ends_cleanly_at_the_token_that_would_cross(client: Client) -> None:
    server = client.plane.server
    server.counts, server.words = False, ["word "] * 500  # ignores max_tokens
    budget = client.cost(52, 40)
    client.limit(nanousd_per_day=budget)
    answer = client.call(stream=True, stream_options={"include_usage": True})
    assert answer.status_code == 200
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    usage = json.loads(events[-2])["usage"]
    end = json.loads(events[-3])["choices"][0]
    assert end["finish_reason"] == "length"
    assert json.loads(events[-3])["id"] == "c1"
    assert usage["completion_tokens"] == 40 == len(events) - 3
    (event,) = client.plane.events()
    assert (event["stream_end"], event["output_tokens"]) == ("length", 40)
    assert event["cost_nanousd"] <= budget


def test_a_stream_may_use_all_that_others_give_back(client: Client) -> None:
    server = client.plane.server
    for _ in range(4):
        client.call()
    server.words = ["word "] * 300  # four times what calls used so far
    client.limit(nanousd_per_day=client.spent() + client.cost(52, 400))
    client.load(nanousd=client.spent())
    answer = client.call(stream=True)
    assert answer.text.count("word") == 300, "nobody else wants the budget: it is not cut at the estimate"


def test_a_token_budget_counts_quota_tokens(client: Client) -> None:
    client.limit(tokens_per_day=250)
    assert client.call(max_tokens=80).status_code == 200
    assert client.call(max_tokens=80).status_code == 200
    refused = client.call(max_tokens=80)
    assert refused.status_code == 429 and refused.json()["error"]["used"] == "200"


def test_running_calls_that_hold_a_budget_are_told_apart(client: Client) -> None:
    client.plane.server.pace_s = 0.4
    client.limit(tokens_per_day=300)
    answers = client.many(4, max_tokens=200)
    codes = {a.json()["error"]["code"] for a in answers if a.status_code == 429}
    assert codes == {"budget_in_flight"}
    held = next(a for a in answers if a.status_code == 429)
    assert 0 < float(held.headers["retry-after"]) <= 30 and held.headers["x-should-retry"] == "true"


def test_a_crash_before_the_event_is_durable_bills_what_the_limits_were_debited(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.limit(tokens_per_day=10_000)

    def full(_event: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(client.plane.recorder, "record", full)
    assert client.call().status_code == 503
    with pytest.raises(httpx.RemoteProtocolError):
        client.call(stream=True)
    left = UnderWay(client.plane.home / "under-way").recover(client.plane.clock.now())
    debited = client.plane.governor.used("acme", "day")
    assert sum(event.quota_tokens for event in left) == debited.quota > 0
    assert sum(event.cost_nanousd for event in left) == debited.nanousd > 0


def test_a_limit_of_an_application_is_its_own(client: Client) -> None:
    client.limit(key="acme/web", rpm=60, rpm_burst=1)
    assert client.call(headers={"x-insula-app": "web"}).status_code == 200
    refused = client.call(headers={"x-insula-app": "web"})
    assert refused.status_code == 429
    assert refused.headers["x-insula-level"] == "application" and refused.headers["x-insula-limit"] == "rpm"
    assert client.call(headers={"x-insula-app": "shop"}).status_code == 200
    assert client.call().status_code == 200
    assert {event["app_id"] for event in client.plane.events()} == {"web", "shop", None}


def test_an_agent_cannot_name_another_application(plane: Any, relay: Any) -> None:
    tenant = plane.tenant("acme", "m1")
    url = relay(plane.door(tenant, "m1", agent="worker")).url
    body = {"model": "m1", "messages": [{"role": "user", "content": "hi"}]}
    for app, status in (("worker", 200), ("other", 403)):
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers={"x-insula-app": app})
        assert answer.status_code == status
    assert answer.json()["error"]["rule"] == "app.bound"


def test_a_bound_key_spends_within_its_application_whatever_it_says(client: Client) -> None:
    client.limit(key="acme/web", rpm=60, rpm_burst=2)
    assert client.call(headers={"x-insula-app": "web"}).status_code == 200
    client.key = client.plane.key(TenantId("acme"), app="web")
    assert client.call().status_code == 200
    denied = client.call(headers={"x-insula-app": "shop"})
    assert denied.status_code == 403 and denied.json()["error"]["rule"] == "app.bound"
    refused = client.call()
    assert refused.status_code == 429 and refused.headers["x-insula-level"] == "application"


def test_a_key_of_an_agent_spends_within_the_application_it_was_deployed_for(client: Client) -> None:
    client.limit(key="acme/desk", rpm=60, rpm_burst=1)
    client.key = client.plane.key(TenantId("acme"), agent="clerk")
    assert client.call(model="m1").status_code == 200
    assert client.call(model="m1").headers["x-insula-level"] == "application"
    assert client.call(model="m1", headers={"x-insula-app": "shop"}).status_code == 403
    (event,) = client.plane.events()
    assert (event["app_id"], event["agent_id"]) == ("desk", "clerk")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-insula-lane", "fast"),
        ("x-insula-app", "No!"),
        ("x-insula-max-wait", "-1"),
        ("x-insula-max-wait", "nan"),
    ],
)
def test_terms_that_cannot_be_read_are_refused_by_name(client: Client, name: str, value: str) -> None:
    answer = client.call(headers={name: value})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == name


def test_policies_refuse_and_bound(client: Client) -> None:
    policies = client.plane.policies
    policies.put(Held.of(Policy("acme", "small", "request.max_tokens > 50 ? limit(50) : allow()")))
    answer = client.call(max_tokens=70)
    assert answer.status_code == 200 and client.plane.server.seen[-1]["body"]["max_tokens"] == 50
    policies.put(
        Held.of(Policy("acme", "no", 'usage.day.requests >= 2 ? deny("enough for today") : allow()'))
    )
    client.limit(tokens_per_day=10**9)
    client.load(quota=1)
    assert client.call().status_code == 200
    refused = client.call()
    assert refused.status_code == 403 and "enough for today" in refused.json()["error"]["message"]


def test_calls_are_settled_in_burndown_and_money_apart(client: Client) -> None:
    client.limit(tokens_per_month=10**6, nanousd_per_month=10**9)
    client.call()
    (event,) = client.plane.events()
    assert (event["quota_tokens"], event["input_quota_tokens"], event["output_quota_tokens"]) == (100, 20, 80)
    assert event["cost_nanousd"] == client.cost(20, 80) > 0

    async def used() -> Use:
        return client.plane.governor.used("acme", "month")

    assert client.plane.call(used()) == Use(100, client.cost(20, 80), 1)
    assert Hard(100) == Hard(100, 0)
