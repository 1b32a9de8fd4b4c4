"""What Prometheus is told of fairness."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from insula.governance.fairness import FairnessOverview, FairQueue, Item, Lane
from insula.governance.fairness.metrics import FairnessMetrics
from insula.governance.fairness.overview import Lent


def test_every_queue_is_told_without_naming_a_tenant() -> None:
    queue = FairQueue(label_of=lambda tenant: "pro")
    for number, tenant in enumerate(("acme", "blue", "acme")):
        queue.enqueue(Item(str(number), tenant, tenant, Lane.INTERACTIVE, 10), 0)
    first = queue.pick(2_000_000)
    assert first is not None
    overview = FairnessOverview({"main": queue}, FairQueue(), lambda: Lent(7, 3, 2, 5, 1.5))
    registry = CollectorRegistry()
    registry.register(FairnessMetrics(overview))
    text = generate_latest(registry).decode()
    assert 'insula_queue_waiting{queue="main"} 2.0' in text
    assert 'insula_queue_dispatches_total{queue="main"} 1.0' in text
    assert 'insula_queue_wait_p95_seconds{lane="interactive",queue="main",tier="pro"} ' in text
    assert "insula_ledger_donated_tokens_total 7.0" in text
    assert "insula_limits_fail_open_seconds_total 1.5" in text
    assert "acme" not in text
