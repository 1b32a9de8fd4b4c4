"""Which models exist, who may use them, and how to reach the servers behind them."""

from __future__ import annotations

from insula.models.catalog import Catalog, CatalogStore, Served
from insula.models.endpoint import Endpoint, Kind, Model
from insula.models.entitlements import Entitlement, Entitlements, EntitlementStore
from insula.models.providers.contract import Flight, Sink
from insula.models.providers.openai import Upstream
from insula.models.upstreams import Upstreams

__all__ = [
    "Catalog",
    "CatalogStore",
    "Endpoint",
    "Entitlement",
    "EntitlementStore",
    "Entitlements",
    "Flight",
    "Kind",
    "Model",
    "Served",
    "Sink",
    "Upstream",
    "Upstreams",
]
