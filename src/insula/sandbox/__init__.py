"""Sandboxes: a run's own uid, namespaces, file system and limits, no weaker than its tier's floor."""

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
