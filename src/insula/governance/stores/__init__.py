"""Where the counters of limits live: in this process, or shared by many gateways. One contract."""

from insula.governance.stores.build import build_store
from insula.governance.stores.contract import LimitStore, Reserved

__all__ = ["LimitStore", "Reserved", "build_store"]
