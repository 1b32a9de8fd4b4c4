"""The face of the runs: submit, look, follow, cancel, explain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import structlog

from insula.governance.fairness import Lane, must_have, parse_lane
from insula.identity import Runs, Storage, VerifiedContext, require
from insula.kernel.errors import Denied, Draining, InvalidRequest, NotFound, RateLimited
from insula.kernel.ids import AgentName, RunId, TenantId, mint, run_id
from insula.runs.acceptance import Acceptance
from insula.runs.adapters.durable import Durable
from insula.runs.adapters.index import Entry, RunIndex
from insula.runs.book import Books, RunBook
from insula.runs.bounds import checked_input, checked_key, checked_timeout
from insula.runs.carrier import Carrier
from insula.runs.explain import explain
from insula.runs.idempotency import request_digest
from insula.runs.live import LiveRun
from insula.runs.parts import RunParts
from insula.runs.passes import Passes, RunPass
from insula.runs.record import RunRecord
from insula.runs.run import RunEvent, RunPage, RunSummary, RunView
from insula.runs.verdict import Cause
from insula.runs.view import view_of, view_of_entry
from insula.tenancy import Tenant, TenantState

QUEUED_MAX = 1_000
"""Runs of one tenant that may wait."""

_PAGE = 256
_FOLLOW_POLL_S = 1.0
_UNBORN_POLL_S = 0.02
_TIDY_S = 60.0
_KEEP_S = 3_600.0

_log = structlog.get_logger()


class RunService:
    """One per platform. ``start``, ``drain`` and ``stop`` belong to one event loop, as do all other methods.

    Every method takes the caller's verified context; a stranger's run is as absent as one that never was.
    """

    def __init__(self, parts: RunParts, mint_run: Callable[[], RunId] | None = None) -> None:
        self._parts = parts
        self._mint = mint_run or (lambda: RunId(mint("run", parts.clock)))
        self._passes = Passes(parts.authority, parts.clock)
        self._books = Books(parts.spaces)
        self._index = RunIndex(parts.control)
        self._carrier = Carrier(parts, self._passes, self._books, self._index)
        self._durable = Durable(parts.durable_path, self._carrier.carry)
        self._acceptance = Acceptance(parts, self._books, self._index, self._durable)
        self._draining = False
        self._started = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tidying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what a former platform left, then be ready for new runs."""
        self._loop = asyncio.get_running_loop()
        self._parts.registry.subscribe(self._tenant_changed)
        await asyncio.to_thread(self._parts.doors.sweep)
        left = await asyncio.to_thread(self._index.unfinished)
        self._parts.reservations.keep_only({entry.run for entry in left})
        await self._durable.start()
        self._started = True
        for entry in left:
            await self._take_up(entry)
        self._tidying = asyncio.create_task(self._tidy(), name="runs-tidy")

    async def drain(self, grace_s: float) -> None:
        """Admit nothing more; give what runs up to ``grace_s`` seconds. The rest waits for the next start."""
        self._draining = True
        self._carrier.gate.shut()
        ends = [asyncio.ensure_future(live.gone.wait()) for live in self._carrier.live.running()]
        if ends:
            _, late = await asyncio.wait(ends, timeout=grace_s)
            for end in late:
                end.cancel()

    async def stop(self) -> None:
        """Let go of every run: sandboxes are destroyed, the runs are taken up by the next platform."""
        self._draining = True
        self._carrier.gate.shut()
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.gather(self._tidying, return_exceptions=True)
        await self._carrier.let_go()
        if self._started:
            self._started = False
            await self._durable.stop()

    async def submit(
        self,
        ctx: VerifiedContext[Runs],
        agent: str,
        data: bytes,
        *,
        timeout_s: float | None = None,
        lane: str = Lane.INTERACTIVE,
        idempotency_key: str | None = None,
    ) -> RunView:
        """Accept a run; it is durable on return. The same key with the same request returns the first run.

        Raises ``NotFound`` for an agent that was not deployed, ``ConflictError`` for a key used for another
        request, ``RateLimited`` when too many of the tenant's runs wait, ``Denied`` for a ``lane`` that its
        tier does not have, ``Draining``, ``InvalidRequest``.
        """
        tenant = self._tenant(ctx)
        if self._draining or not self._started:
            raise Draining("the platform is shutting down", hint="try again shortly", retry_after_s=5)
        self._check_active(tenant)
        deployed = self._parts.registry.get_agent(tenant, AgentName(agent))
        limit_s = checked_timeout(timeout_s)
        wanted = parse_lane(lane, "lane")
        must_have(wanted, self._parts.lanes(tenant), tenant, "lane")
        record = RunRecord(
            run=self._mint(),
            agent=deployed.name,
            bundle=deployed.bundle,
            request=request_digest(deployed.name, checked_input(data), limit_s, wanted),
            timeout_s=limit_s,
            created_at=self._parts.clock.now(),
            lane=wanted,
        )
        key = checked_key(idempotency_key)
        self._check_queue(tenant)
        space = self._passes.storage(ctx)
        entry = await self._acceptance.accept(tenant, space, record, data, key)
        return view_of_entry(entry) if entry.run == record.run else await self._view(ctx, entry)

    async def get(self, ctx: VerifiedContext[Runs], run: RunId) -> RunView:
        """Return a run. Raises ``NotFound``."""
        entry = await self._find(ctx, run)
        return await self._view(ctx, entry)

    async def list(self, ctx: VerifiedContext[Runs], cursor: str | None = None, limit: int = 50) -> RunPage:
        """Return a page of the tenant's runs, newest first. Raises ``InvalidRequest`` for a bad cursor."""
        tenant = self._tenant(ctx)
        before = _cursor(cursor)
        entries = await asyncio.to_thread(self._index.page, tenant, before, limit + 1)
        items = tuple(self._summary(entry) for entry in entries[:limit])
        return RunPage(items, items[-1].run if len(entries) > limit else None)

    async def cancel(self, ctx: VerifiedContext[Runs], run: RunId) -> RunView:
        """End a run wherever it stands and wait for it; a run that has ended stays as it is."""
        entry = await self._find(ctx, run)
        if not entry.state.terminal:
            book = await self._book(ctx)
            await asyncio.to_thread(book.request_cancel, run)
            await self._see_stopped(run)
        return await self.get(ctx, run)

    async def cancel_all(self, tenant: TenantId) -> int:
        """End every run of a tenant that was suspended or deleted; return how many were under way.

        The operator's act: it takes a bare tenant id and reads nothing.
        """
        runs = self._carrier.live.of(tenant)
        for live in runs:
            live.stop(self._barring(tenant))
        await asyncio.gather(*(live.gone.wait() for live in runs))
        return len(runs)

    async def forget(self, tenant: TenantId) -> None:
        """Drop a deleted tenant's runs from the index."""
        await asyncio.to_thread(self._index.forget, tenant)

    def owner(self, run: RunId) -> TenantId | None:
        """Return whose run it is, for the operator's routes. Blocking."""
        return self._index.owner(run)

    async def follow(self, ctx: VerifiedContext[Runs], run: RunId, after: int = 0) -> AsyncIterator[RunEvent]:
        """Yield the journal behind line ``after`` and what comes, until the run ends: no gap, no repeat."""
        entry = await self._find(ctx, run)
        passport = self._passes.for_run(entry.tenant, entry.agent, run)
        while True:
            live = self._carrier.live.get(run)
            page = await asyncio.to_thread(self._read_on, passport, run, after)
            for event in page:
                yield event
                after = event.seq
                if event.final:
                    return
            if page:
                continue
            if live is None and entry.state.terminal:
                return
            await _patience(live, after)
            entry = await self._find_again(entry)

    async def journal(
        self, ctx: VerifiedContext[Runs], run: RunId, after: int = 0, limit: int = 1_000
    ) -> Sequence[RunEvent]:
        """Return at most ``limit`` journal lines after line ``after``."""
        await self._find(ctx, run)
        return await self._page(ctx, run, after, limit)

    async def artifact(self, ctx: VerifiedContext[Runs], run: RunId, name: str) -> bytes:
        """Return a file that the agent left. Raises ``NotFound``."""
        await self._find(ctx, run)
        book = await self._book(ctx)
        return await asyncio.to_thread(book.artifact, run, name)

    async def why(self, ctx: VerifiedContext[Runs], run: RunId) -> Sequence[str]:
        """Explain in order why a run went as it did."""
        view = await self.get(ctx, run)
        book = await self._book(ctx)
        return explain(view, await asyncio.to_thread(book.story, run))

    async def _see_stopped(self, run: RunId) -> None:
        """Stop a run that is carried. One that is not yet carried finds the wish in its record.

        The wish was written before we look here, and a body enters before it reads the record: so one of
        the two always notices.
        """
        live = self._carrier.live.get(run)
        if live is not None:
            live.stop(Cause.CANCELLED)
            await live.gone.wait()

    async def _tidy(self) -> None:
        """Forget workflows that ended a while ago: records tell of the runs."""
        while True:
            try:
                await self._durable.forget_ended(self._parts.clock.now() - _KEEP_S)
            except Exception:
                _log.warning("tidying_failed", exc_info=True)
            await asyncio.sleep(_TIDY_S)

    async def _take_up(self, entry: Entry) -> None:
        """A run without a workflow was cut between index and workflow; the body sorts it out."""
        standing = await self._durable.standing(entry.tenant, entry.run)
        if standing == "going":
            return
        if standing == "absent":
            await self._durable.begin(entry.tenant, entry.run)
            return
        _log.warning("run_without_end", run=entry.run, tenant=entry.tenant)
        self._carrier.send(entry.tenant, entry.run)

    async def _find(self, ctx: VerifiedContext[Runs], run: RunId) -> Entry:
        entry = await asyncio.to_thread(self._index.find, self._tenant(ctx), run_id(run))
        if entry is None:
            raise NotFound("there is no such run", hint="insula run list TENANT shows them", field="run")
        return entry

    async def _find_again(self, entry: Entry) -> Entry:
        return await asyncio.to_thread(self._index.find, entry.tenant, entry.run) or entry

    def _read_on(self, passport: RunPass, run: RunId, after: int) -> Sequence[RunEvent]:
        """A follower was let in once and may stay longer than its own context: it reads in the run's name."""
        return self._books.open(passport.context(Storage)).events(run, after, _PAGE)

    async def _view(self, ctx: VerifiedContext[Runs], entry: Entry) -> RunView:
        book = await self._book(ctx)
        return await asyncio.to_thread(view_of, book, entry)

    async def _page(
        self, ctx: VerifiedContext[Runs], run: RunId, after: int, limit: int
    ) -> Sequence[RunEvent]:
        book = await self._book(ctx)
        return await asyncio.to_thread(book.events, run, after, limit)

    async def _book(self, ctx: VerifiedContext[Runs]) -> RunBook:
        return await asyncio.to_thread(self._books.open, self._passes.storage(ctx))

    def _tenant(self, ctx: VerifiedContext[Runs]) -> TenantId:
        return require(ctx, Runs, self._parts.clock.now())

    def _check_active(self, tenant: TenantId) -> None:
        """The operator may look at a suspended tenant's runs, but nobody may start one."""
        state, _epoch = self._parts.registry.standing(tenant) or (TenantState.DELETED, 0)
        if state is not TenantState.ACTIVE:
            raise Denied(
                f"tenant {tenant} is {state}", hint=f"insula tenant resume {tenant}", rule="tenant.active"
            )

    def _check_queue(self, tenant: TenantId) -> None:
        if self._carrier.gate.waiting(tenant) >= QUEUED_MAX:
            raise RateLimited(
                f"{QUEUED_MAX} runs of this tenant wait already",
                hint="wait until some have ended",
                retry_after_s=1,
                level="tenant",
                limit="queued_runs",
            )

    def _summary(self, entry: Entry) -> RunSummary:
        live = self._carrier.live.get(entry.run)
        summary = entry.summary()
        return summary if live is None or entry.state.terminal else summary.at(live.journal.state)

    def _tenant_changed(self, tenant: Tenant) -> None:
        """Called by the registry, on any thread."""
        if tenant.state is not TenantState.ACTIVE and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop_all, tenant.id)

    def _stop_all(self, tenant: TenantId) -> None:
        for live in self._carrier.live.of(tenant):
            live.stop(self._barring(tenant))

    def _barring(self, tenant: TenantId) -> Cause:
        state, _epoch = self._parts.registry.standing(tenant) or (TenantState.DELETED, 0)
        return Cause.TENANT_DELETED if state is TenantState.DELETED else Cause.TENANT_SUSPENDED


async def _patience(live: LiveRun | None, seen: int) -> None:
    if live is None:
        await asyncio.sleep(_UNBORN_POLL_S)
    else:
        await live.journal.beyond(seen, _FOLLOW_POLL_S)


def _cursor(cursor: str | None) -> RunId | None:
    try:
        return None if cursor is None else run_id(cursor)
    except InvalidRequest:
        raise InvalidRequest(
            "this is no cursor of a list of runs", hint="use `next` as it came", field="cursor"
        ) from None
