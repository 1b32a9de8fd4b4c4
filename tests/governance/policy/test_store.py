"""Policies in the control database: durable, versioned, gone with their tenant."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import text

from insula.governance.adapters.policies import SqlPolicies
from insula.governance.policy import Facts, Mode
from insula.governance.policy.metrics import PolicyMetrics
from insula.kernel.clock import ManualClock
from insula.kernel.errors import InvalidRequest, NotFound
from insula.storage import ControlDatabase


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlDatabase]:
    opened = ControlDatabase(tmp_path / "control.db")
    yield opened
    opened.close()


def test_policies_survive_a_restart(control: ControlDatabase, facts: Callable[..., Facts]) -> None:
    clock = ManualClock()
    SqlPolicies(control, clock).put("acme", "main", "false", Mode.ENFORCE)
    again = SqlPolicies(control, clock)
    held = again.get("acme", "main")
    assert (held.policy.expression, held.policy.version) == ("false", 1)
    assert held.policy.created_at == clock.now()
    assert not again.held.decide(("*", "acme"), facts).allowed


def test_a_change_counts_up_and_the_same_again_does_not(control: ControlDatabase) -> None:
    policies = SqlPolicies(control, ManualClock())
    assert policies.put("acme", "main", "true", Mode.ENFORCE).version == 1
    assert policies.put("acme", "main", "true", Mode.ENFORCE).version == 1
    assert policies.put("acme", "main", "true", Mode.SHADOW).version == 2
    assert policies.put("acme", "main", "false", Mode.SHADOW).version == 3


def test_what_is_refused_leaves_the_old_one_in_force(control: ControlDatabase) -> None:
    policies = SqlPolicies(control, ManualClock())
    policies.put("acme", "main", "false", Mode.ENFORCE)
    with pytest.raises(InvalidRequest):
        policies.put("acme", "main", "flase", Mode.ENFORCE)
    assert policies.get("acme", "main").policy.expression == "false"
    assert SqlPolicies(control, ManualClock()).get("acme", "main").policy.expression == "false"


def test_a_tenants_policies_go_with_it_and_no_others(control: ControlDatabase) -> None:
    policies = SqlPolicies(control, ManualClock())
    for scope in ("*", "acme", "acme/chat", "acme2"):
        policies.put(scope, "main", "true", Mode.ENFORCE)
    policies.drop("acme")
    assert [held.policy.scope for held in policies.held] == ["*", "acme2"]
    assert [held.policy.scope for held in SqlPolicies(control, ManualClock()).held] == ["*", "acme2"]


def test_deleting_what_is_not_there_is_told(control: ControlDatabase) -> None:
    policies = SqlPolicies(control, ManualClock())
    policies.put("acme", "main", "true", Mode.ENFORCE)
    policies.delete("acme", "main")
    with pytest.raises(NotFound):
        policies.delete("acme", "main")
    assert not SqlPolicies(control, ManualClock()).held


def test_a_stored_text_that_no_longer_compiles_denies(
    control: ControlDatabase, facts: Callable[..., Facts]
) -> None:
    SqlPolicies(control, ManualClock()).put("acme", "main", "true", Mode.ENFORCE)
    with control.begin() as connection:
        connection.execute(text("UPDATE policies SET expression = 'request.gone'"))
    verdict = SqlPolicies(control, ManualClock()).held.decide(("acme",), facts)
    assert verdict.denied is not None
    assert verdict.denied.decision.kind == "error"


def test_decisions_are_counted_in_the_metrics(control: ControlDatabase, facts: Callable[..., Facts]) -> None:
    policies = SqlPolicies(control, ManualClock())
    registry = CollectorRegistry()
    registry.register(PolicyMetrics(policies.held))
    policies.put("*", "watch", "false", Mode.SHADOW)
    policies.held.decide(("*", "acme"), facts)
    series = (
        'insula_policy_decisions_total{decision="deny",mode="shadow",policy="watch",scope="platform"} 1.0'
    )
    assert series in generate_latest(registry).decode()
