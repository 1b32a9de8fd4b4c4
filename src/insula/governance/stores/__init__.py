"""Where the counters of limits live: in this process, or shared by many gateways. One contract."""

from insula.governance.stores.contract import LimitStore, Reserved

__all__ = ["LimitStore", "Reserved"]
