"""The data plane: doors and the public listener, and the one governed way of a model call behind them."""

from insula.gateway.caller import Deployed, DoorCaller, Identity, KeyCaller
from insula.gateway.door import Door, Doors
from insula.gateway.gateway import DataPlane, PublicListener
from insula.gateway.metrics import Metrics
from insula.gateway.pipeline import Parts, Pipeline
from insula.gateway.policing import Policing
from insula.gateway.refusals import RefusalLog, Refused
from insula.gateway.turnstiles import Turnstiles
from insula.gateway.wire import PUBLIC_LIMITS, WireLimits

__all__ = [
    "PUBLIC_LIMITS",
    "DataPlane",
    "Deployed",
    "Door",
    "DoorCaller",
    "Doors",
    "Identity",
    "KeyCaller",
    "Metrics",
    "Parts",
    "Pipeline",
    "Policing",
    "PublicListener",
    "RefusalLog",
    "Refused",
    "Turnstiles",
    "WireLimits",
]
