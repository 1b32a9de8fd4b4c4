"""One sandbox as the platform holds it: from launch to receipt."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from insula.sandbox.harvest import Harvest, HarvestLimits, harvest
from insula.sandbox.output import Output
from insula.sandbox.spec import Exit, OutputChunk, Receipt
from insula.sandbox.uids import Lease, carried_uids
from insula.tenancy import Rung

_GRACE_S = 0.5
_REAPED_WITHIN_S = 10.0
_LOOK_AGAIN_S = 0.05
_FREED_WITHIN_S = 6.0  # a harvest that nobody waits for any more lets go after at most five


class Sandbox:
    """Made by :class:`Sandboxes`. ``destroy`` may be called at any time and more than once."""

    def __init__(
        self,
        number: int,
        backend: Rung,
        lease: Lease,
        output: Output,
        stop: Callable[[int, str, float], None],
        watch: Callable[[int], asyncio.Future[None]],
    ) -> None:
        self.number = number
        self.backend = backend
        self.uid = lease.uid
        self._lease = lease
        self._output = output
        self._stop = stop
        self._watch = watch
        self._freed: asyncio.Future[None] | None = None
        loop = asyncio.get_running_loop()
        self.launched: asyncio.Future[int] = loop.create_future()
        self._exit: asyncio.Future[Exit] = loop.create_future()
        self._gone: asyncio.Future[bool] = loop.create_future()
        self._work = -1
        self._destroying: asyncio.Task[Receipt] | None = None

    @property
    def output(self) -> AsyncIterator[OutputChunk]:
        """What the workload prints; to be read once."""
        return self._output.chunks()

    async def wait(self) -> Exit:
        """Return how it ended."""
        return await asyncio.shield(self._exit)

    async def kill(self, reason: str, *, grace_s: float = _GRACE_S) -> None:
        """Ask it to end and kill it ``grace_s`` seconds later; ``wait`` then returns ``reason``."""
        self._end(reason, grace_s)

    def overflow(self) -> None:
        """It printed more than it may."""
        self._end("output_limit", 0.0)

    async def harvest(self, limits: HarvestLimits | None = None) -> Harvest:
        """Read what it left behind; after its end and before ``destroy``."""
        await asyncio.shield(self._gone)
        if self._work < 0:
            return Harvest(None, (), ())
        # A descriptor of its own: a thread cannot be cancelled, and by then the number may be another run's.
        return await asyncio.to_thread(_harvest_and_close, os.dup(self._work), limits)

    async def destroy(self) -> Receipt:
        """End it if need be, free everything it had, return what was made sure of."""
        if self._destroying is None:
            self._destroying = asyncio.create_task(self._destroy())
        return await asyncio.shield(self._destroying)

    async def _destroy(self) -> Receipt:
        self._end("destroyed", 0.0)
        removed = await asyncio.shield(self._gone)
        self._output.close()
        freed = await self._free_workspace()
        carried = await self._is_carried()
        if not carried:
            self._lease.end()  # else it stays locked: nobody gets a uid that something still runs as
        return Receipt(
            processes_gone=not carried,
            group_removed=removed,
            workspace_freed=freed,
            uid_released=not carried,
        )

    async def _is_carried(self) -> bool:
        """Whether a process still has the uid. Orphans of a dead spawner wait for the host's init to reap."""
        deadline = time.monotonic() + _REAPED_WITHIN_S
        while self.uid in await asyncio.to_thread(carried_uids):
            if time.monotonic() > deadline:
                return True
            await asyncio.sleep(_LOOK_AGAIN_S)
        return False

    async def _free_workspace(self) -> bool:
        """Let go of the last descriptor and see the kernel free the file system."""
        if self._work < 0 or self._freed is None:
            return True
        os.close(self._work)
        self._work = -1
        await asyncio.wait((self._freed,), timeout=_FREED_WITHIN_S)
        return self._freed.done()

    def take(self, message: dict[str, Any], fds: list[int]) -> None:
        """An event about this sandbox."""
        match message["event"]:
            case "launched":
                self._work = fds[0]
                self._freed = self._watch(self._work)
                self.launched.set_result(self._work)
            case "refused":
                self.launched.set_exception(OSError(message["problem"]))
            case "exit":
                self._exit.set_result(_exit_of(message))
            case "gone":
                self._gone.set_result(True)

    def lose(self) -> None:
        """The spawner died, and the sandbox with it. What it leaves is not known before ``swept``."""
        if not self.launched.done():
            self.launched.set_exception(OSError("the spawner died"))
        if not self._exit.done():
            self._exit.set_result(Exit(None, 9, "lost", 0.0, 0))

    def swept(self, clean: bool) -> None:
        """The next spawner has cleared up after the last one, or could not."""
        if not self._gone.done():
            self._gone.set_result(clean)

    def abandon(self) -> None:
        """It never started: give back what was set aside for it."""
        self._output.close()
        self._lease.end()

    def _end(self, reason: str, grace_s: float) -> None:
        if not self._exit.done():
            self._stop(self.number, reason, grace_s)


def _harvest_and_close(work: int, limits: HarvestLimits | None) -> Harvest:
    try:
        return harvest(work, limits)
    finally:
        os.close(work)


def _exit_of(message: dict[str, Any]) -> Exit:
    return Exit(
        code=message["code"],
        signal=message["signal"],
        reason=message["reason"],
        cpu_s=message["cpu_s"],
        memory_peak=message["memory_peak"],
        problem=message["problem"],
    )
