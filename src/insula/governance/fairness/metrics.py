"""Fairness for Prometheus. No label names a tenant: per tenant, ask ``insula fairness``."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from insula.governance.fairness.overview import FairnessOverview, Lent


class FairnessMetrics(Collector):
    """Reads the queues when somebody asks."""

    def __init__(self, overview: FairnessOverview) -> None:
        self._overview = overview

    def collect(self) -> Iterator[Metric]:
        """Yield the families, as ``prometheus_client`` asks for them."""
        yield from self._queues()
        yield from _lent(self._overview.lent())

    def _queues(self) -> Iterator[Metric]:
        gap = GaugeMetricFamily("insula_fairness_gap", "Worst gap as a part of its bound", labels=["queue"])
        jain = GaugeMetricFamily("insula_fairness_jain", "Jain index of received shares", labels=["queue"])
        waiting = GaugeMetricFamily("insula_queue_waiting", "Calls or runs that wait", labels=["queue"])
        served = CounterMetricFamily("insula_queue_dispatches", "Calls or runs let in", labels=["queue"])
        times = GaugeMetricFamily(
            "insula_queue_wait_p95_seconds", "95th percentile of waiting", labels=["queue", "tier", "lane"]
        )
        for queue in self._overview.queues():
            report = queue.report
            gap.add_metric([queue.name], report.gap)
            jain.add_metric([queue.name], report.jain)
            waiting.add_metric([queue.name], report.waiting)
            served.add_metric([queue.name], report.dispatches)
            for one in report.waiting_times:
                times.add_metric([queue.name, one.label, one.lane], one.p95_us / 1e6)
        yield from (gap, jain, waiting, served, times)


def _lent(lent: Lent) -> Iterator[Metric]:
    yield CounterMetricFamily("insula_ledger_donated_tokens", "Lent by idle runs", value=lent.donated_tokens)
    yield CounterMetricFamily("insula_ledger_reclaimed_tokens", "Taken back", value=lent.reclaimed_tokens)
    yield GaugeMetricFamily("insula_ledger_held_tokens", "Held by running calls", value=lent.held_tokens)
    yield GaugeMetricFamily("insula_limits_debt_tokens", "Overruns not yet repaid", value=lent.debt_tokens)
    yield CounterMetricFamily(
        "insula_limits_fail_open_seconds", "Without the store of limits", value=lent.fail_open_seconds
    )
