"""Between a run's blueprint and a sandbox: what is mounted, what is executed."""

from __future__ import annotations

from pathlib import Path

from insula.identity import Sandboxes as Audience
from insula.identity import VerifiedContext
from insula.runs.blueprint import Blueprint
from insula.runs.parts import OpenDoor
from insula.sandbox import Sandbox, Sandboxes, SandboxSpec

PID_1 = ("/usr/bin/python3", "/run/insula/agent/__main__.pyc", "--")


class Launcher:
    """Launches what runs ask for. ``agent``: the compiled code of pid 1."""

    def __init__(self, sandboxes: Sandboxes, agent: Path) -> None:
        self._sandboxes = sandboxes
        self._agent = agent

    async def launch(
        self, context: VerifiedContext[Audience], plan: Blueprint, open_door: OpenDoor
    ) -> Sandbox:
        """Start the sandbox of ``plan``. Raises what :meth:`Sandboxes.launch` raises."""
        spec = SandboxSpec(
            tenant=plan.tenant,
            run=plan.run,
            rootfs=plan.rootfs,
            command=(*PID_1, *plan.command),
            bounds=plan.bounds,
            environment=plan.environment,
            files=plan.files,
            stdin=plan.data,
            agent=self._agent,
        )
        return await self._sandboxes.launch(context, spec, plan.profile, open_door)
