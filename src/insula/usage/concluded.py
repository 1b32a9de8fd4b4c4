"""Calls that ended lately, one by one: for whoever may have missed their end."""

from __future__ import annotations

from typing import NamedTuple


class Concluded(NamedTuple):
    """What one call used. ``app`` and ``agent`` are empty for calls without one."""

    request_id: str
    tenant: str
    app: str
    agent: str
    quota_tokens: int
    input_quota_tokens: int
    output_quota_tokens: int
    cost_nanousd: int
