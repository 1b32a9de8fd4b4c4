"""Settings become parts, parts become the platform: the only room that knows everyone."""

from insula.wiring.ground import open_audit
from insula.wiring.platform import Platform

__all__ = ["Platform", "open_audit"]
