"""Limits, held exactly: who may use how much of what they share, decided before a call runs.

Pure decisions: no I/O, time passed in, integers only.
"""

from insula.governance.quota.bucket import UNIT, Bucket
from insula.governance.quota.estimate import Estimator, input_tokens
from insula.governance.quota.governor import Governor
from insula.governance.quota.grant import Expiry, Grant
from insula.governance.quota.limits import UNLIMITED, Limits
from insula.governance.quota.need import Amounts, Hard, Need, used_tokens
from insula.governance.quota.refusal import Refusal
from insula.governance.quota.standing import Quota, Standing
from insula.governance.scope import PLATFORM, Scope

__all__ = [
    "PLATFORM",
    "UNIT",
    "UNLIMITED",
    "Amounts",
    "Bucket",
    "Estimator",
    "Expiry",
    "Governor",
    "Grant",
    "Hard",
    "Limits",
    "Need",
    "Quota",
    "Refusal",
    "Scope",
    "Standing",
    "input_tokens",
    "used_tokens",
]
