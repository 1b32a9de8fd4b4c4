"""Keys, signed context, credentials: who is asking, and how each layer knows."""

from insula.identity.audience import Audience, Gateway, Runs, Sandboxes, Storage, Usage
from insula.identity.context import VerifiedContext, require

__all__ = ["Audience", "Gateway", "Runs", "Sandboxes", "Storage", "Usage", "VerifiedContext", "require"]
