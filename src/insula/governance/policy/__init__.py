"""Policies: expressions in CEL that an operator writes for a level, asked before each call.

What an expression may say is checked in full when it is saved; what it can cost is bounded then, too.
"""

from insula.governance.policy.decision import ALLOWED, Decision, Said, Verdict, combine
from insula.governance.policy.facts import Facts, Spent, Window
from insula.governance.policy.policies import Held, PolicySet
from insula.governance.policy.policy import (
    Compiled,
    Mode,
    Policy,
    compile_expression,
    parse_mode,
    parse_name,
)
from insula.governance.policy.refusal import PolicyDenied, PolicyFailed, refusal
from insula.governance.policy.shadow import Tally, WouldBe

__all__ = [
    "ALLOWED",
    "Compiled",
    "Decision",
    "Facts",
    "Held",
    "Mode",
    "Policy",
    "PolicyDenied",
    "PolicyFailed",
    "PolicySet",
    "Said",
    "Spent",
    "Tally",
    "Verdict",
    "Window",
    "WouldBe",
    "combine",
    "compile_expression",
    "parse_mode",
    "parse_name",
    "refusal",
]
