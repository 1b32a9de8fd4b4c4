"""Durable execution by DBOS: a workflow that was started is carried to its end, across restarts.

A workflow's id is ``<tenant>:<run>``, minted by the platform and refused when in use. Its arguments are the
two ids. It has no checkpointed steps: their outputs would lie in clear in the library's tables, so the
checkpoints of a run are its own record and journal in the tenant's sealed space, and the body may be entered
any number of times. The library runs on an event loop and threads of its own, because it replaces the default
executor of the loop it runs on; the body is handed to the platform's loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from insula.kernel.clock import rfc3339
from insula.kernel.errors import AlreadyExists
from insula.kernel.ids import RunId, TenantId

T = TypeVar("T")

Body = Callable[[TenantId, RunId], Coroutine[Any, Any, str]]

_WORKFLOW = "insula.run"
_SHAPE = "1"  # raise it only when a body can no longer take up what an older one left
LISTEN_S = 1.0
_BATCH = 1_000
_GOING = ("PENDING", "ENQUEUED", "DELAYED")
_PRAGMAS = (
    "pragma busy_timeout=30000",
    "pragma journal_mode=wal",
    "pragma synchronous=full",
    "pragma foreign_keys=on",
)


def workflow_id(tenant: TenantId, run: RunId) -> str:
    """Return the id of a run's workflow. Neither part can hold a colon, so two runs never share one."""
    return f"{tenant}:{run}"


class Durable:
    """One per process, as the library is. ``path``: its SQLite file."""

    def __init__(self, path: Path, body: Body) -> None:
        self._path = path
        self._body = body
        self._workflow: Any = None

    async def start(self) -> None:
        """Open the database and take up every workflow that a former platform left."""
        home = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="insula-durable", daemon=True)
        self._thread.start()
        await self._there(self._launch(home))

    async def begin(self, tenant: TenantId, run: RunId) -> None:
        """Start a run's workflow; durable on return. Raises ``AlreadyExists`` when the id is in use."""
        await self._there(self._begin(tenant, run))

    async def standing(self, tenant: TenantId, run: RunId) -> str:
        """Return "absent", "going" (under way, or about to be taken up) or "ended"."""
        return await self._there(self._standing(tenant, run))

    async def forget_ended(self, before: float) -> None:
        """Delete the rows of workflows that came to their end before ``before`` (seconds since the epoch)."""
        await self._there(self._forget_ended(before))

    async def stop(self) -> None:
        """Close the database, then drop what still waits: those workflows stay to be taken up."""
        await self._there(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    async def _there(self, work: Awaitable[T]) -> T:
        """Run ``work`` on the library's loop and wait for it from ours."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(work), self._loop))

    async def _launch(self, home: asyncio.AbstractEventLoop) -> None:
        from dbos import DBOS

        body = self._body

        async def carry(tenant: str, run: str) -> str:
            done = asyncio.run_coroutine_threadsafe(body(TenantId(tenant), RunId(run)), home)
            return await asyncio.wrap_future(done)

        self._workflow = DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=None)(carry)
        DBOS(config=self._config())
        DBOS.launch()

    def _config(self) -> Any:
        return {
            "name": "insula",
            "system_database_url": f"sqlite:///{self._path}",
            "system_database_engine": _engine(self._path),
            "application_version": _SHAPE,
            "executor_id": "insula",
            "run_admin_server": False,
            "enable_otlp": False,
            "log_level": "ERROR",
            "max_executor_threads": 8,
            "notification_listener_polling_interval_sec": LISTEN_S,
        }

    async def _begin(self, tenant: TenantId, run: RunId) -> None:
        from dbos import DBOS, SetWorkflowID, error

        try:
            with SetWorkflowID(workflow_id(tenant, run), workflow_id_reuse_policy="reject"):
                await DBOS.start_workflow_async(self._workflow, str(tenant), str(run))
        except error.DBOSWorkflowIDInUseError as taken:
            raise AlreadyExists("a run of this id exists", hint="submit again", field="run") from taken

    async def _standing(self, tenant: TenantId, run: RunId) -> str:
        from dbos import DBOS

        status = await DBOS.get_workflow_status_async(workflow_id(tenant, run))
        if status is None:
            return "absent"
        return "going" if status.status in _GOING else "ended"

    async def _forget_ended(self, before: float) -> None:
        from dbos import DBOS

        ended = await DBOS.list_workflows_async(
            status="SUCCESS",
            completed_before=rfc3339(before),
            limit=_BATCH,
            load_input=False,
            load_output=False,
        )
        if ended:
            await DBOS.delete_workflows_async([one.workflow_id for one in ended])

    async def _close(self) -> None:
        from dbos import DBOS

        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}", pool_size=4, max_overflow=8)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    return engine
