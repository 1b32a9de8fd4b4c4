"""Calls that wait: for a slot in fair order, for their own quota, for a model server at its limit."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2 as httpx
import pytest

from insula.governance import Limits

ASK = {"model": "m1", "messages": [{"role": "user", "content": "hi"}]}


class Crowd:
    """Callers of several tenants, and the order in which they were answered."""

    def __init__(self, plane: Any) -> None:
        self.plane = plane
        self.keys = {name: plane.key(plane.tenant(name)) for name in ("acme", "blue")}
        self.order: list[str] = []

    def slots(self, number: int | None) -> None:
        self.plane.catalog.set_capacity("main", {"slots": number})

    def limit(self, key: str, **limits: Any) -> None:
        async def change() -> None:
            self.plane.governor.set_limits(key, Limits(**limits))

        self.plane.call(change())

    async def call(self, client: Any, tenant: str, label: str = "", **headers: str) -> httpx.Response:
        answer = await client.post(
            f"{self.plane.listener.url}/v1/chat/completions",
            json=ASK,
            headers={"authorization": f"Bearer {self.keys[tenant]}", **headers},
        )
        self.order.append(label or tenant)
        return answer

    def run(self, *calls: tuple[float, str, str, dict[str, str]]) -> list[httpx.Response]:
        """Fire ``(after, tenant, label, headers)``; return the answers in that order."""

        async def fire() -> list[httpx.Response]:
            async with httpx.AsyncClient(timeout=30) as client:

                async def one(after: float, tenant: str, label: str, headers: dict[str, str]) -> Any:
                    await asyncio.sleep(after)
                    return await self.call(client, tenant, label, **headers)

                return await asyncio.gather(*(one(*call) for call in calls))

        return asyncio.run(fire())


@pytest.fixture
def crowd(plane: Any) -> Crowd:
    return Crowd(plane)


def test_no_more_calls_run_than_the_endpoint_has_slots(crowd: Crowd) -> None:
    crowd.slots(3)
    crowd.plane.server.pace_s = 0.05
    answers = crowd.run(*[(0.0, "acme", "", {}) for _ in range(20)])
    assert {answer.status_code for answer in answers} == {200}
    assert crowd.plane.server.most_running == 3
    waits = [int(answer.headers.get("x-queue-ms", 0)) for answer in answers]
    assert max(waits) >= 200 and {event["queue_ms"] for event in crowd.plane.events()} >= {max(waits)}


def test_a_flood_does_not_stand_in_front_of_a_neighbour(crowd: Crowd) -> None:
    crowd.slots(1)
    crowd.plane.server.pace_s = 0.03
    flood = [(0.0, "acme", "", {}) for _ in range(20)]
    crowd.run(*flood, (0.05, "blue", "", {}))
    assert crowd.order.index("blue") <= 4


def test_weights_divide_the_slots(crowd: Crowd) -> None:
    crowd.slots(1)
    crowd.plane.weights["acme"] = 3
    crowd.plane.server.pace_s = 0.02
    crowd.run(*[(0.0, tenant, "", {}) for _ in range(24) for tenant in ("acme", "blue")])
    first = crowd.order[4:24]
    assert first.count("acme") / first.count("blue") == pytest.approx(3, abs=1.3)


def test_interactive_goes_before_batch_inside_a_tenant(crowd: Crowd) -> None:
    crowd.slots(1)
    crowd.plane.server.pace_s = 0.05
    batch = {"x-insula-lane": "batch"}
    crowd.run(
        (0.0, "acme", "running", {}),
        *[(0.01 + number / 1000, "acme", "batch", batch) for number in range(4)],
        (0.03, "acme", "interactive", {"x-insula-lane": "interactive"}),
    )
    assert crowd.order[:2] == ["running", "interactive"]
    assert [event["lane"] for event in crowd.plane.events()].count("batch") == 4


def test_a_lane_that_the_tier_does_not_have_is_refused(crowd: Crowd) -> None:
    crowd.plane.lanes = ("interactive",)
    (answer,) = crowd.run((0.0, "acme", "", {"x-insula-lane": "batch"}))
    assert answer.status_code == 403 and answer.json()["error"]["rule"] == "lane.not_in_tier"


def test_who_does_not_wait_is_told_at_once(crowd: Crowd) -> None:
    crowd.slots(1)
    crowd.plane.server.pace_s = 0.3
    answers = crowd.run((0.0, "acme", "", {}), (0.1, "blue", "", {"x-insula-max-wait": "0"}))
    refused = answers[1]
    assert refused.status_code == 503 and refused.json()["error"]["kind"] == "queue_timeout"
    assert refused.headers["retry-after"] == "1" and refused.headers["x-should-retry"] == "true"


def test_who_waits_in_vain_is_told_in_time(crowd: Crowd) -> None:
    crowd.slots(1)
    crowd.plane.server.pace_s = 0.6
    began = time.monotonic()
    answers = crowd.run((0.0, "acme", "", {}), (0.05, "blue", "", {"x-insula-max-wait": "0.2"}))
    assert answers[1].status_code == 503 and answers[0].status_code == 200
    assert crowd.order == ["blue", "acme"] and time.monotonic() - began < 5
    assert crowd.plane.turnstiles.waiting() == 0


def test_a_call_waits_for_its_own_quota_if_its_caller_lets_it(crowd: Crowd) -> None:
    crowd.limit("acme", rpm=240, rpm_burst=1)
    wait = {"x-insula-max-wait": "5"}
    answers = crowd.run(*[(0.0, "acme", "", wait) for _ in range(5)], (0.1, "blue", "", {}))
    assert {answer.status_code for answer in answers} == {200}
    assert crowd.order[0:2].count("blue") == 1, "what acme may not have stands in nobody's way"
    assert max(int(answer.headers.get("x-queue-ms", 0)) for answer in answers) >= 900


def test_a_wait_longer_than_the_caller_has_is_refused_at_once(crowd: Crowd) -> None:
    crowd.limit("acme", rpm=6, rpm_burst=1)
    answers = crowd.run((0.0, "acme", "", {}), (0.1, "acme", "", {"x-insula-max-wait": "2"}))
    assert answers[1].status_code == 429
    assert 9 <= float(answers[1].headers["retry-after"]) <= 10
    assert answers[1].headers["x-insula-level"] == "tenant"


def test_a_server_at_its_limit_is_asked_again(crowd: Crowd) -> None:
    crowd.plane.server.refuse_next = 2
    (answer,) = crowd.run((0.0, "acme", "", {"x-insula-max-wait": "20"}))
    assert answer.status_code == 200
    (event,) = crowd.plane.events()
    assert event["attempt"] == 3 and event["stream_end"] == "ok"
    assert crowd.plane.governor.in_flight() == 0


def test_a_server_that_stays_at_its_limit_is_not_asked_for_ever(crowd: Crowd) -> None:
    crowd.plane.server.refuse_next = 100
    (answer,) = crowd.run((0.0, "acme", "", {"x-insula-max-wait": "60"}))
    assert answer.status_code == 429 and len(crowd.plane.server.seen) == 5


def test_a_server_at_its_limit_is_the_answer_for_who_does_not_wait(crowd: Crowd) -> None:
    crowd.plane.server.refuse_next = 1
    (answer,) = crowd.run((0.0, "acme", "", {}))
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "provider_limited"
    assert answer.headers["x-upstream-status"] == "429"


def test_fewer_calls_are_sent_to_a_server_at_its_limit(crowd: Crowd) -> None:
    crowd.slots(8)
    crowd.plane.server.pace_s = 0.05
    crowd.run(*[(0.0, "acme", "", {}) for _ in range(16)])
    crowd.plane.server.most_running = 0
    crowd.plane.server.refuse_next = 1
    crowd.run((0.0, "acme", "", {}))
    answers = crowd.run(*[(0.0, "acme", "", {}) for _ in range(12)])
    assert {answer.status_code for answer in answers} == {200}
    assert crowd.plane.server.most_running < 8


def test_a_caller_that_leaves_the_queue_has_cost_nothing(crowd: Crowd) -> None:
    crowd.slots(1)
    crowd.plane.server.pace_s = 0.5

    async def leave() -> None:
        async with httpx.AsyncClient(timeout=0.15) as impatient, httpx.AsyncClient(timeout=30) as patient:
            first = asyncio.create_task(crowd.call(patient, "acme"))
            await asyncio.sleep(0.1)
            with pytest.raises(httpx.TimeoutException):
                await crowd.call(impatient, "blue")
            assert (await first).status_code == 200
            assert (await crowd.call(patient, "blue")).status_code == 200

    asyncio.run(leave())
    assert [event["tenant_id"] for event in crowd.plane.events()] == ["acme", "blue"]
    assert crowd.plane.turnstiles.waiting() == 0 and crowd.plane.governor.in_flight() == 0


def test_what_the_queue_charged_is_what_a_call_cost(crowd: Crowd) -> None:
    crowd.slots(2)
    crowd.plane.server.pace_s = 0.02
    crowd.run(*[(0.0, tenant, "", {}) for _ in range(10) for tenant in ("acme", "blue")])
    events = crowd.plane.events()
    assert len(events) == 20
    assert all(event["fair_cost"] == event["fair_charged"] > 0 for event in events)


@pytest.mark.parametrize("kind", ["raised", "promised", "cancelled"])
def test_a_fault_of_the_limits_is_answered_and_frees_the_slot(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    crowd.slots(1)

    def faulty(*_: Any) -> Any:
        if kind == "raised":
            raise ZeroDivisionError("nobody foresaw this")
        answer = asyncio.get_running_loop().create_future()
        if kind == "promised":
            answer.set_exception(ZeroDivisionError("nobody foresaw this"))
        else:
            answer.cancel()
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(crowd.plane.governor, "reserve", faulty)
        broken = crowd.run(*[(0.0, "acme", "", {}) for _ in range(3)])
    for answer in broken:
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "enforcement_unavailable"
        assert "foresaw" not in answer.text
    assert crowd.run((0.0, "acme", "", {}))[0].status_code == 200
