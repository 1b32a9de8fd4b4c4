"""What policies said, as metrics: one series for each policy and kind of decision."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from insula.governance.policy.policies import PolicySet
from insula.governance.scope import PLATFORM


class PolicyMetrics(Collector):
    """Register it once; labels are bounded by the policies that operators wrote."""

    def __init__(self, policies: PolicySet) -> None:
        self._policies = policies

    def collect(self) -> Iterator[Metric]:
        """Yield the counts since the platform started; of a changed policy, since its change."""
        said = CounterMetricFamily(
            "insula_policy_decisions",
            "What policies said of calls; in shadow, what they would have done.",
            labels=("scope", "policy", "mode", "decision"),
        )
        for one in self._policies:
            scope = "platform" if one.policy.scope == PLATFORM else one.policy.scope
            for kind, count in one.tally.counts.items():
                said.add_metric((scope, one.policy.name, one.policy.mode.value, kind), count)
        yield said

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: which series there are is known only when they are collected."""
        return iter(())
