"""The two lanes of a tenant."""

from __future__ import annotations

from enum import StrEnum


class Lane(StrEnum):
    """How urgent a tenant says its own work is. Across tenants a lane counts for nothing."""

    INTERACTIVE = "interactive"
    BATCH = "batch"
