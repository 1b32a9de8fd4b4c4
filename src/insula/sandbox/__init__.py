"""Sandboxes: a run's own uid, namespaces, file system and limits, no weaker than its tier's floor.

The face is lazy: the spawner imports its own modules from this package and must stay small, because every
sandbox begins as a copy of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from insula.sandbox.fleet import Sandboxes, probe_host
    from insula.sandbox.harvest import Artifact, Harvest, HarvestLimits
    from insula.sandbox.recipe import Missing
    from insula.sandbox.sandbox import Sandbox
    from insula.sandbox.spec import Exit, OutputChunk, Receipt, SandboxSpec

__all__ = [
    "Artifact",
    "Exit",
    "Harvest",
    "HarvestLimits",
    "Missing",
    "OutputChunk",
    "Receipt",
    "Sandbox",
    "SandboxSpec",
    "Sandboxes",
    "probe_host",
]

_HOMES = {
    **dict.fromkeys(("Sandboxes", "probe_host"), "fleet"),
    **dict.fromkeys(("Artifact", "Harvest", "HarvestLimits"), "harvest"),
    **dict.fromkeys(("Exit", "OutputChunk", "Receipt", "SandboxSpec"), "spec"),
    "Missing": "recipe",
    "Sandbox": "sandbox",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
