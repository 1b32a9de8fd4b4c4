"""Accepting a run: index, then record, then workflow. What a crash leaves of it, the next start can tell."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from insula.identity import Storage, VerifiedContext
from insula.kernel.errors import ConflictError
from insula.kernel.ids import TenantId
from insula.runs.adapters.durable import Durable
from insula.runs.adapters.index import Entry, RunIndex
from insula.runs.book import Books
from insula.runs.idempotency import key_hash, same_request
from insula.runs.parts import RunParts
from insula.runs.record import Line, RunRecord
from insula.runs.states import RunState
from insula.runs.verdict import platform_fault


class Acceptance:
    """Once begun, an acceptance goes to its end, also when whoever asked for it has left."""

    def __init__(self, parts: RunParts, books: Books, index: RunIndex, durable: Durable) -> None:
        self._parts = parts
        self._books = books
        self._index = index
        self._durable = durable
        self._keys: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def accept(
        self,
        tenant: TenantId,
        space: VerifiedContext[Storage],
        record: RunRecord,
        data: bytes,
        key: str | None,
    ) -> Entry:
        """Return the entry of the run: the new one, or the one that ``key`` already stands for.

        Raises ``ConflictError`` when the key was used for another request.
        """
        if key is None:
            accepting = self._accept(tenant, space, record, data, None)
        else:
            accepting = self._in_turn(tenant, space, record, data, key_hash(tenant, key))
        return await asyncio.shield(asyncio.ensure_future(accepting))

    async def _in_turn(
        self, tenant: TenantId, space: VerifiedContext[Storage], record: RunRecord, data: bytes, hashed: str
    ) -> Entry:
        """One request of a key at a time, so that the second finds all of the first."""
        async with self._keys.setdefault(hashed, asyncio.Lock()):
            return await self._accept(tenant, space, record, data, hashed)

    async def _accept(
        self,
        tenant: TenantId,
        space: VerifiedContext[Storage],
        record: RunRecord,
        data: bytes,
        hashed: str | None,
    ) -> Entry:
        reach = self._parts.reach
        entry = Entry(
            record.run, tenant, record.agent, RunState.QUEUED, None, record.created_at, None, hashed
        )
        held = await asyncio.to_thread(self._index.add, entry)
        if held.run != record.run:
            await asyncio.to_thread(self._compare, space, held, record)
            return held
        reach("index_written")
        try:
            await asyncio.to_thread(self._store, space, record, data)
            reach("record_written")
            await self._durable.begin(tenant, record.run)
        except Exception as error:
            await self._take_back(record, error)
            raise
        reach("workflow_started")
        return entry

    def _store(self, space: VerifiedContext[Storage], record: RunRecord, data: bytes) -> None:
        first = Line(1, record.created_at, "state", 0, {"state": str(RunState.QUEUED)})
        self._books.open(space).create(record, data, (first,))

    def _compare(self, space: VerifiedContext[Storage], held: Entry, asked: RunRecord) -> None:
        stored = self._books.open(space).find(held.run)
        if stored is None:
            raise ConflictError("this key's first request is being sorted out", retry_after_s=1)
        same_request(stored.request, asked.request)

    async def _take_back(self, record: RunRecord, error: Exception) -> None:
        """The caller is told of the error; the key is free for another try."""
        verdict = platform_fault(type(error).__name__)
        end = (record.run, verdict.state, str(verdict.cause), self._parts.clock.now())
        await asyncio.to_thread(self._index.finish, *end, release_key=True)
