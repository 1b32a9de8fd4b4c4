"""Policies, asked before a call: what the operator's expressions say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from insula.governance.fairness import Lane
from insula.governance.policy import Facts, PolicySet, Spent, Window, refusal
from insula.governance.stores import LimitStore
from insula.usage import Tokens

if TYPE_CHECKING:
    from insula.gateway.admission import Admission


class Policing:
    """Asks the policies of a call's levels and carries out what they say.

    ``about(tenant)`` returns its tier and its tags.
    """

    def __init__(
        self,
        policies: PolicySet,
        limits: LimitStore,
        about: Callable[[str], tuple[str, tuple[str, ...]]],
    ) -> None:
        self._policies = policies
        self._limits = limits
        self._about = about

    @property
    def active(self) -> bool:
        """Whether there is any policy to ask."""
        return bool(self._policies)

    def judge(self, admission: Admission) -> bool:
        """Refuse, bound or move a call; return whether its estimate must be made anew.

        Raises ``PolicyDenied``, or ``PolicyFailed`` for a policy that cannot be evaluated.
        """
        keys = tuple(key for _, key in admission.scope.levels())
        verdict = self._policies.decide(keys, lambda: self._facts(admission))
        if verdict.denied is not None:
            raise refusal(verdict.denied)
        if verdict.lane is not None:
            admission.lane = Lane(verdict.lane)
        output = admission.ask.output
        if verdict.limit is None or (output is not None and output <= verdict.limit):
            return False
        admission.ask.clamp(verdict.limit)
        return True

    def _facts(self, admission: Admission) -> Facts:
        scope, ask, need = admission.scope, admission.ask, admission.need
        tier, tags = self._about(scope.tenant)
        likely = Tokens(input=admission.read, output=admission.reserved_output)
        return Facts(
            tenant=scope.tenant,
            tier=tier,
            now=admission.started_at,
            tags=tags,
            app=scope.app or "",
            agent=scope.agent or "",
            depth=1 if admission.identity.run else 0,
            model=ask.model,
            lane=str(admission.lane),
            in_tokens=admission.read,
            max_tokens=ask.output or 0,
            est_quota=need.estimate.quota,
            est_nanousd=admission.valuation.price(likely)[0],
            tools=_tool_names(ask.payload.get("tools")),
            usage=lambda window: self._spent(scope.tenant, window),
            request_id=admission.request_id,
        )

    def _spent(self, tenant: str, window: Window) -> Spent:
        used = self._limits.used(tenant, window)
        return Spent(used.quota, used.nanousd, used.calls)


def _tool_names(tools: Any) -> tuple[str, ...]:
    """Return the names of the functions that a request offers; what has none is left out."""
    if not isinstance(tools, list):
        return ()
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)]
    names = [function.get("name") for function in functions if isinstance(function, dict)]
    return tuple(name for name in names if isinstance(name, str))
