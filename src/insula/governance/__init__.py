"""Limits, held exactly: who may use how much of what they share, decided before a call runs.

Pure decisions: no I/O, time passed in, integers only.
"""

from insula.governance.bucket import UNIT, Bucket
from insula.governance.estimate import Estimator, input_tokens
from insula.governance.governor import Governor
from insula.governance.grant import Expiry, Grant
from insula.governance.limits import UNLIMITED, Limits
from insula.governance.refusal import Refusal
from insula.governance.scope import PLATFORM, Scope
from insula.governance.standing import Quota, Standing
from insula.governance.sweeper import keep_sweeping

__all__ = [
    "PLATFORM",
    "UNIT",
    "UNLIMITED",
    "Bucket",
    "Estimator",
    "Expiry",
    "Governor",
    "Grant",
    "Limits",
    "Quota",
    "Refusal",
    "Scope",
    "Standing",
    "input_tokens",
    "keep_sweeping",
]
