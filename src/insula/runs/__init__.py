"""Runs: accepted durably, carried to one end, explained. Survives the end of the platform at any point."""

from insula.runs.drafting import Drafts
from insula.runs.invocation import Invocation
from insula.runs.parts import RunParts
from insula.runs.run import ArtifactEntry, RunEvent, RunPage, RunSummary, RunUsage, RunView
from insula.runs.service import RunService
from insula.runs.states import RunState

__all__ = [
    "ArtifactEntry",
    "Drafts",
    "Invocation",
    "RunEvent",
    "RunPage",
    "RunParts",
    "RunService",
    "RunState",
    "RunSummary",
    "RunUsage",
    "RunView",
]
