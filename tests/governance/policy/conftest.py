"""Facts of a call, and policies that are asked about it."""

from collections.abc import Callable
from typing import Any

import pytest

from insula.governance.policy import Facts, Held, Mode, Policy, PolicySet, Spent, Window

LEVELS = ("*", "acme", "acme/chat")


def spent(window: Window) -> Spent:
    return {"hour": Spent(10, 1, 1), "day": Spent(200, 2_000_000_000, 20), "month": Spent(3_000, 3, 300)}[
        window
    ]


@pytest.fixture
def facts() -> Callable[..., Facts]:
    """Return how to make the facts of a call: a usual one, with changes."""

    def make(**changes: Any) -> Facts:
        usual: dict[str, Any] = {
            "tenant": "acme",
            "tier": "pro",
            "now": 1_790_000_000.0,
            "tags": ("trial",),
            "app": "chat",
            "agent": "researcher",
            "depth": 1,
            "model": "claude-opus-5",
            "in_tokens": 100,
            "max_tokens": 2_000,
            "est_quota": 20_100,
            "est_nanousd": 50_000_000,
            "tools": ("search", "shell"),
            "usage": spent,
            "request_id": "req_1",
        }
        return Facts(**usual | changes)

    return make


@pytest.fixture
def decide(facts: Callable[..., Facts]) -> Callable[..., Any]:
    """Return how to ask policies, given as ``(scope, expression)`` or ``(scope, expression, mode)``."""

    def ask(*policies: Any, **changes: Any) -> Any:
        held = PolicySet()
        for at, (scope, expression, *mode) in enumerate(policies):
            policy = Policy(scope, f"p{at}", expression, Mode(mode[0]) if mode else Mode.ENFORCE)
            held.put(Held.of(policy))
        return held.decide(LEVELS, lambda: facts(**changes))

    return ask
