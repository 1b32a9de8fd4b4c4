"""The errors that a policy's refusal becomes. Both name the level and the policy."""

from __future__ import annotations

from typing import Any

from insula.governance.policy.decision import Said
from insula.governance.scope import PLATFORM
from insula.kernel.errors import AccessError


class PolicyDenied(AccessError):
    """An operator's policy refuses this call."""

    code = "policy_denied"


class PolicyFailed(AccessError):
    """An operator's policy could not be evaluated, so the call is refused."""

    code = "operator_policy_failed"


def refusal(said: Said) -> PolicyDenied | PolicyFailed:
    """Return the error for the saying that refused a call."""
    level = "platform" if said.scope == PLATFORM else said.scope
    facts: dict[str, Any] = {
        "rule": f"policy:{level}/{said.policy}",
        "level": level,
        "policy": said.policy,
    }
    if said.decision.kind == "error":
        return PolicyFailed(
            f"the policy {said.policy} of {level} could not be evaluated: {said.decision.reason}",
            hint=f"tell the operator: insula policy show {level} --name {said.policy}",
            **facts,
        )
    reason = said.decision.reason or "its condition does not hold for this call"
    return PolicyDenied(
        f"the policy {said.policy} of {level} refuses this call: {reason}",
        hint="change the call accordingly, or ask the operator about the policy",
        **facts,
    )
